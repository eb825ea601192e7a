-- Three types of argument: cut-offs, which may be given as date, timestamp, text or an array of these; horizons, which may
-- be given as a number of days or as an interval; and channels, which may be given as true or as a list of columns.
-- They are text underneath; the casts make one signature do where dozens of overloads would be needed.

CREATE TYPE ltv.cutoffs;
CREATE FUNCTION ltv.cutoffs_in(cstring) RETURNS ltv.cutoffs LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textin';
CREATE FUNCTION ltv.cutoffs_out(ltv.cutoffs) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textout';
CREATE TYPE ltv.cutoffs (INPUT = ltv.cutoffs_in, OUTPUT = ltv.cutoffs_out, LIKE = text);
COMMENT ON TYPE ltv.cutoffs IS 'one or more cut-offs: a date, a timestamp, or an array of either';

CREATE FUNCTION ltv.cutoffs(date[]) RETURNS ltv.cutoffs LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT ARRAY(SELECT to_char(d, 'YYYY-MM-DD') FROM unnest($1) d)::text::ltv.cutoffs $$;
CREATE FUNCTION ltv.cutoffs(timestamp[]) RETURNS ltv.cutoffs LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT ARRAY(SELECT to_char(t, 'YYYY-MM-DD HH24:MI:SS.US') FROM unnest($1) t)::text::ltv.cutoffs $$;
CREATE FUNCTION ltv.cutoffs(timestamptz[]) RETURNS ltv.cutoffs LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT ARRAY(SELECT to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || 'Z' FROM unnest($1) t)::text::ltv.cutoffs $$;
CREATE FUNCTION ltv.cutoffs(text[]) RETURNS ltv.cutoffs LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT $1::text::ltv.cutoffs $$;
CREATE FUNCTION ltv.cutoffs(date) RETURNS ltv.cutoffs LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT ltv.cutoffs(ARRAY[$1]) $$;
CREATE FUNCTION ltv.cutoffs(timestamp) RETURNS ltv.cutoffs LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT ltv.cutoffs(ARRAY[$1]) $$;
CREATE FUNCTION ltv.cutoffs(timestamptz) RETURNS ltv.cutoffs LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT ltv.cutoffs(ARRAY[$1]) $$;

CREATE CAST (text AS ltv.cutoffs) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (varchar AS ltv.cutoffs) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (ltv.cutoffs AS text) WITHOUT FUNCTION;
CREATE CAST (text[] AS ltv.cutoffs) WITH FUNCTION ltv.cutoffs(text[]) AS IMPLICIT;
CREATE CAST (date AS ltv.cutoffs) WITH FUNCTION ltv.cutoffs(date) AS IMPLICIT;
CREATE CAST (date[] AS ltv.cutoffs) WITH FUNCTION ltv.cutoffs(date[]) AS IMPLICIT;
CREATE CAST (timestamp AS ltv.cutoffs) WITH FUNCTION ltv.cutoffs(timestamp) AS IMPLICIT;
CREATE CAST (timestamp[] AS ltv.cutoffs) WITH FUNCTION ltv.cutoffs(timestamp[]) AS IMPLICIT;
CREATE CAST (timestamptz AS ltv.cutoffs) WITH FUNCTION ltv.cutoffs(timestamptz) AS IMPLICIT;
CREATE CAST (timestamptz[] AS ltv.cutoffs) WITH FUNCTION ltv.cutoffs(timestamptz[]) AS IMPLICIT;

CREATE TYPE ltv.horizon;
CREATE FUNCTION ltv.horizon_in(cstring) RETURNS ltv.horizon LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textin';
CREATE FUNCTION ltv.horizon_out(ltv.horizon) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textout';
CREATE TYPE ltv.horizon (INPUT = ltv.horizon_in, OUTPUT = ltv.horizon_out, LIKE = text);
COMMENT ON TYPE ltv.horizon IS 'a number of days, or an interval of whole days, months or years';

CREATE FUNCTION ltv.horizon(bigint) RETURNS ltv.horizon LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT $1::text::ltv.horizon $$;
CREATE FUNCTION ltv.horizon(int) RETURNS ltv.horizon LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT $1::text::ltv.horizon $$;
CREATE FUNCTION ltv.horizon(smallint) RETURNS ltv.horizon LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT $1::text::ltv.horizon $$;
CREATE FUNCTION ltv.horizon(interval) RETURNS ltv.horizon LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET IntervalStyle = postgres
AS $$ SELECT $1::text::ltv.horizon $$;

CREATE CAST (text AS ltv.horizon) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (varchar AS ltv.horizon) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (ltv.horizon AS text) WITHOUT FUNCTION;
CREATE CAST (bigint AS ltv.horizon) WITH FUNCTION ltv.horizon(bigint) AS IMPLICIT;
CREATE CAST (int AS ltv.horizon) WITH FUNCTION ltv.horizon(int) AS IMPLICIT;
CREATE CAST (smallint AS ltv.horizon) WITH FUNCTION ltv.horizon(smallint) AS IMPLICIT;
CREATE CAST (interval AS ltv.horizon) WITH FUNCTION ltv.horizon(interval) AS IMPLICIT;

CREATE TYPE ltv.channels;
CREATE FUNCTION ltv.channels_in(cstring) RETURNS ltv.channels LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textin';
CREATE FUNCTION ltv.channels_out(ltv.channels) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textout';
CREATE TYPE ltv.channels (INPUT = ltv.channels_in, OUTPUT = ltv.channels_out, LIKE = text);
COMMENT ON TYPE ltv.channels IS 'whether to make a sequence: true, or columns to add to it';

CREATE FUNCTION ltv.channels(boolean) RETURNS ltv.channels LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT $1::text::ltv.channels $$;
CREATE FUNCTION ltv.channels(text[]) RETURNS ltv.channels LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT $1::text::ltv.channels $$;
CREATE CAST (text AS ltv.channels) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (varchar AS ltv.channels) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (ltv.channels AS text) WITHOUT FUNCTION;
CREATE CAST (boolean AS ltv.channels) WITH FUNCTION ltv.channels(boolean) AS IMPLICIT;
CREATE CAST (text[] AS ltv.channels) WITH FUNCTION ltv.channels(text[]) AS IMPLICIT;

CREATE FUNCTION ltv.parse_channels(channels ltv.channels) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN lower(trim(channels::text)) IN ('false', 'f', 'no', 'off', '') THEN NULL
                WHEN lower(trim(channels::text)) IN ('true', 't', 'yes', 'on') THEN '{}'
                WHEN channels::text ~ '^\s*[{]' THEN channels::text::text[]
                ELSE regexp_split_to_array(trim(channels::text), '\s*,\s*') END
$$;
COMMENT ON FUNCTION ltv.parse_channels IS 'the columns to add to a sequence, NULL for no sequence';

-- Days stay days; what has a time of day becomes an instant, in time_zone where it does not name its own.
CREATE FUNCTION ltv.parse_cutoffs(as_of ltv.cutoffs, time_zone text, OUT days date[], OUT instants timestamptz[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    given text[];
    item text;
BEGIN
    IF as_of IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'as_of must not be null',
            HINT = 'Give the last day that the features may see, for example as_of => ''1997-09-30''.';
    END IF;
    given := CASE WHEN as_of::text ~ '^\s*[{]' THEN as_of::text::text[] ELSE ARRAY[as_of::text] END;
    IF cardinality(given) = 0 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'as_of names no cut-off',
            HINT = 'Give at least one day, for example as_of => ''1997-09-30''.';
    END IF;
    FOREACH item IN ARRAY given LOOP
        IF item IS NULL THEN
            RAISE null_value_not_allowed USING MESSAGE = 'as_of must not contain null';
        ELSIF NOT isfinite(item::timestamp) THEN
            RAISE invalid_parameter_value USING MESSAGE = 'as_of must be finite';
        ELSIF item ~ '\d:\d' AND regexp_replace(item, '\m[ap]m\M', '', 'i') ~ '\d:\d.*([a-z]|[+-]\d)' THEN
            instants := instants || item::timestamptz;
        ELSIF item ~ '\d:\d' OR item::timestamp <> item::date THEN
            instants := instants || (item::timestamp AT TIME ZONE time_zone);
        ELSE
            days := days || item::date;
        END IF;
    END LOOP;
    IF days IS NOT NULL AND instants IS NOT NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'as_of mixes days and times',
            DETAIL = 'A day stands for its end, a time for itself.', HINT = 'Give only days, or only times.';
    END IF;
    days := ARRAY(SELECT DISTINCT d FROM unnest(days) d ORDER BY d);
    instants := ARRAY(SELECT DISTINCT t FROM unnest(instants) t ORDER BY t);
END
$$;
COMMENT ON FUNCTION ltv.parse_cutoffs IS 'cut-offs as days or as instants, sorted; the other array is empty';

CREATE FUNCTION ltv.parse_horizon(horizon ltv.horizon) RETURNS interval
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp SET IntervalStyle = postgres
AS $$
DECLARE
    span interval;
BEGIN
    IF horizon IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the horizon must not be null',
            HINT = 'Give the number of days to look ahead, for example horizon => 365, or an interval.';
    END IF;
    span := CASE WHEN horizon::text ~ '^\s*[+-]?\d+\s*$' THEN horizon::text || ' days' ELSE horizon::text END::interval;
    IF span <= interval '0' THEN
        RAISE invalid_parameter_value USING MESSAGE = format('the horizon must be positive, not %s', span),
            HINT = 'Give the number of days to look ahead, for example horizon => 365.';
    ELSIF span > interval '100 years' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the horizon must not be longer than 100 years';
    ELSIF date_trunc('day', span) <> span THEN
        RAISE invalid_parameter_value USING MESSAGE = format('the horizon must be whole days, not %s', span),
            HINT = 'Orders are counted by the day; round the horizon to days.';
    END IF;
    RETURN span;
END
$$;
COMMENT ON FUNCTION ltv.parse_horizon IS 'a horizon as an interval of whole days';
