-- Three types of argument: cut-offs, which may be given as date, timestamp, text or an array of these; horizons, which
-- may be given as a number of days or as an interval; and channels, which may be given as true or as a list of columns.
-- They are text underneath; the casts make one signature do where dozens of overloads would be needed.
--
-- Patterns have no backslash, because standard_conforming_strings may be off where these functions are called.

CREATE TYPE ltv.cutoffs;
CREATE FUNCTION ltv.cutoffs_in(cstring) RETURNS ltv.cutoffs
LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textin';
CREATE FUNCTION ltv.cutoffs_out(ltv.cutoffs) RETURNS cstring
LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textout';
CREATE TYPE ltv.cutoffs (INPUT = ltv.cutoffs_in, OUTPUT = ltv.cutoffs_out, LIKE = text);
COMMENT ON FUNCTION ltv.cutoffs_in IS 'reads cutoffs as text';
COMMENT ON FUNCTION ltv.cutoffs_out IS 'writes cutoffs as text';
COMMENT ON TYPE ltv.cutoffs IS 'one or more cut-offs: a date, a timestamp, or an array of either';

CREATE FUNCTION ltv.cutoffs(date[]) RETURNS ltv.cutoffs
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT ARRAY(SELECT COALESCE(to_char(d, 'YYYY-MM-DD'), d::text) FROM unnest($1) d)::text::ltv.cutoffs $$;
CREATE FUNCTION ltv.cutoffs(timestamp[]) RETURNS ltv.cutoffs
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ARRAY(SELECT COALESCE(to_char(t, 'YYYY-MM-DD HH24:MI:SS.US'), t::text) FROM unnest($1) t)::text::ltv.cutoffs
$$;
CREATE FUNCTION ltv.cutoffs(timestamptz[]) RETURNS ltv.cutoffs
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ARRAY(
        SELECT COALESCE(to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || 'Z', t::text)
        FROM unnest($1) t
    )::text::ltv.cutoffs
$$;
CREATE FUNCTION ltv.cutoffs(text[]) RETURNS ltv.cutoffs
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT $1::text::ltv.cutoffs $$;
CREATE FUNCTION ltv.cutoffs(date) RETURNS ltv.cutoffs
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT ltv.cutoffs(ARRAY[$1]) $$;
CREATE FUNCTION ltv.cutoffs(timestamp) RETURNS ltv.cutoffs
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT ltv.cutoffs(ARRAY[$1]) $$;
CREATE FUNCTION ltv.cutoffs(timestamptz) RETURNS ltv.cutoffs
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT ltv.cutoffs(ARRAY[$1]) $$;
COMMENT ON FUNCTION ltv.cutoffs(date[]) IS 'days as cut-offs';
COMMENT ON FUNCTION ltv.cutoffs(timestamp[]) IS 'times without a zone as cut-offs';
COMMENT ON FUNCTION ltv.cutoffs(timestamptz[]) IS 'instants as cut-offs';
COMMENT ON FUNCTION ltv.cutoffs(text[]) IS 'texts as cut-offs';
COMMENT ON FUNCTION ltv.cutoffs(date) IS 'a day as a cut-off';
COMMENT ON FUNCTION ltv.cutoffs(timestamp) IS 'a time without a zone as a cut-off';
COMMENT ON FUNCTION ltv.cutoffs(timestamptz) IS 'an instant as a cut-off';

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
CREATE FUNCTION ltv.horizon_in(cstring) RETURNS ltv.horizon
LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textin';
CREATE FUNCTION ltv.horizon_out(ltv.horizon) RETURNS cstring
LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textout';
CREATE TYPE ltv.horizon (INPUT = ltv.horizon_in, OUTPUT = ltv.horizon_out, LIKE = text);
COMMENT ON FUNCTION ltv.horizon_in IS 'reads horizon as text';
COMMENT ON FUNCTION ltv.horizon_out IS 'writes horizon as text';
COMMENT ON TYPE ltv.horizon IS 'a number of days, or an interval of whole days, months or years';

CREATE FUNCTION ltv.horizon(bigint) RETURNS ltv.horizon
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT $1::text::ltv.horizon $$;
CREATE FUNCTION ltv.horizon(int) RETURNS ltv.horizon
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT $1::text::ltv.horizon $$;
CREATE FUNCTION ltv.horizon(smallint) RETURNS ltv.horizon
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT $1::text::ltv.horizon $$;
CREATE FUNCTION ltv.horizon(numeric) RETURNS ltv.horizon
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT $1::text::ltv.horizon $$;
CREATE FUNCTION ltv.horizon(float8) RETURNS ltv.horizon
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT $1::text::ltv.horizon $$;
CREATE FUNCTION ltv.horizon(real) RETURNS ltv.horizon
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT $1::text::ltv.horizon $$;
CREATE FUNCTION ltv.horizon(interval) RETURNS ltv.horizon
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET IntervalStyle = postgres
AS $$ SELECT $1::text::ltv.horizon $$;
COMMENT ON FUNCTION ltv.horizon(bigint) IS 'a number of days as a horizon';
COMMENT ON FUNCTION ltv.horizon(int) IS 'a number of days as a horizon';
COMMENT ON FUNCTION ltv.horizon(smallint) IS 'a number of days as a horizon';
COMMENT ON FUNCTION ltv.horizon(numeric) IS 'a number of days as a horizon';
COMMENT ON FUNCTION ltv.horizon(float8) IS 'a number of days as a horizon';
COMMENT ON FUNCTION ltv.horizon(real) IS 'a number of days as a horizon';
COMMENT ON FUNCTION ltv.horizon(interval) IS 'an interval as a horizon';

CREATE CAST (text AS ltv.horizon) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (varchar AS ltv.horizon) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (ltv.horizon AS text) WITHOUT FUNCTION;
CREATE CAST (bigint AS ltv.horizon) WITH FUNCTION ltv.horizon(bigint) AS IMPLICIT;
CREATE CAST (int AS ltv.horizon) WITH FUNCTION ltv.horizon(int) AS IMPLICIT;
CREATE CAST (smallint AS ltv.horizon) WITH FUNCTION ltv.horizon(smallint) AS IMPLICIT;
CREATE CAST (numeric AS ltv.horizon) WITH FUNCTION ltv.horizon(numeric) AS IMPLICIT;
CREATE CAST (float8 AS ltv.horizon) WITH FUNCTION ltv.horizon(float8) AS IMPLICIT;
CREATE CAST (real AS ltv.horizon) WITH FUNCTION ltv.horizon(real) AS IMPLICIT;
CREATE CAST (interval AS ltv.horizon) WITH FUNCTION ltv.horizon(interval) AS IMPLICIT;

CREATE TYPE ltv.channels;
CREATE FUNCTION ltv.channels_in(cstring) RETURNS ltv.channels
LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textin';
CREATE FUNCTION ltv.channels_out(ltv.channels) RETURNS cstring
LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textout';
CREATE TYPE ltv.channels (INPUT = ltv.channels_in, OUTPUT = ltv.channels_out, LIKE = text);
COMMENT ON FUNCTION ltv.channels_in IS 'reads channels as text';
COMMENT ON FUNCTION ltv.channels_out IS 'writes channels as text';
COMMENT ON TYPE ltv.channels IS 'whether to make a sequence: true, or columns to add to it';

CREATE FUNCTION ltv.channels(boolean) RETURNS ltv.channels
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT $1::text::ltv.channels $$;
CREATE FUNCTION ltv.channels(text[]) RETURNS ltv.channels
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT $1::text::ltv.channels $$;
COMMENT ON FUNCTION ltv.channels(boolean) IS 'whether to make a sequence';
COMMENT ON FUNCTION ltv.channels(text[]) IS 'the columns of a sequence';

CREATE CAST (text AS ltv.channels) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (varchar AS ltv.channels) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (ltv.channels AS text) WITHOUT FUNCTION;
CREATE CAST (boolean AS ltv.channels) WITH FUNCTION ltv.channels(boolean) AS IMPLICIT;
CREATE CAST (text[] AS ltv.channels) WITH FUNCTION ltv.channels(text[]) AS IMPLICIT;

CREATE FUNCTION ltv.is_list(value jsonb, of text, pattern text DEFAULT '') RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN jsonb_typeof(value) = 'array'
                THEN NOT EXISTS (SELECT FROM jsonb_array_elements(value) e
                                 WHERE jsonb_typeof(e) <> of OR e #>> '{}' !~ pattern)
                ELSE false END
$$;
COMMENT ON FUNCTION ltv.is_list IS 'whether a value is an array of values of a type and form';

-- {"step": "1 day", "steps": 30} is a regular grid; anything else is one step per purchase day.
CREATE FUNCTION ltv.parse_sequence(channels ltv.channels) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET IntervalStyle = postgres
AS $$
DECLARE
    given text := trim(channels::text);
    grid jsonb;
    step interval;
    unknown text;
BEGIN
    IF given IS NULL OR given !~ '^[{][[:space:]]*"[^"]*"[[:space:]]*:' THEN
        RETURN jsonb_build_object('steps', 64, 'columns',
            CASE WHEN COALESCE(lower(given), '') IN ('false', 'f', 'no', 'off', '') THEN NULL
                 WHEN lower(given) IN ('true', 't', 'yes', 'on') THEN '{}'
                 WHEN given ~ '^[{]' THEN given::text[]
                 ELSE regexp_split_to_array(given, '[[:space:]]*,[[:space:]]*') END);
    END IF;
    BEGIN
        grid := given::jsonb;
        SELECT string_agg(k, ', ') INTO unknown FROM jsonb_object_keys(grid) k
        WHERE k NOT IN ('step', 'steps', 'columns');
        step := CASE WHEN COALESCE(grid ->> 'step', '1') ~ '^[0-9]+$' THEN COALESCE(grid ->> 'step', '1') || ' days'
                     ELSE grid ->> 'step' END::interval;
    EXCEPTION WHEN data_exception THEN
        RAISE invalid_parameter_value USING MESSAGE = format('the sequence %s cannot be read', given),
            DETAIL = SQLERRM || '.', HINT = 'For example sequence => ''{"step": "1 day", "steps": 30}''.';
    END;
    IF unknown IS NOT NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = format('unknown key of the sequence: %s', unknown),
            HINT = 'The keys are step, steps and columns.';
    ELSIF (extract(epoch FROM step) BETWEEN 86400 AND 86400::bigint * 36500
           AND step = make_interval(days => extract(day FROM step)::int)) IS NOT TRUE THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the step of a sequence must be whole days, from 1 to 36500',
            HINT = 'For example "1 day" or "7 days".';
    ELSIF COALESCE(grid ->> 'steps', '30') !~ '^[1-9][0-9]{0,3}$' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the steps of a sequence must be a number from 1 to 9999',
            HINT = 'For example sequence => ''{"step": "1 day", "steps": 30}''.';
    ELSIF NOT ltv.is_list(COALESCE(grid -> 'columns', '[]'), 'string') THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the columns of a sequence must be a list of names',
            HINT = 'For example "columns": ["units"].';
    END IF;
    RETURN jsonb_build_object('steps', COALESCE(grid ->> 'steps', '30')::int, 'grid', extract(day FROM step)::int,
                              'columns', COALESCE(grid -> 'columns', '[]'));
END
$$;
COMMENT ON FUNCTION ltv.parse_sequence IS 'the shape of a sequence and the columns to add to it; null for none';

-- What one cut-off says: a day, which stands for its end, or an instant. A text that means the same instant in two time
-- zones names its own; any other is read in time_zone.
CREATE FUNCTION ltv.parse_cutoff(item text, time_zone text, argument text, OUT day date, OUT instant timestamptz)
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC'
AS $$
DECLARE
    word text := lower(btrim(item));
    local timestamp;
    here timestamptz;
    elsewhere timestamptz;
    has_clock boolean;
BEGIN
    IF word IN ('yesterday', 'today', 'tomorrow') THEN
        day := (now() AT TIME ZONE time_zone)::date + array_position('{yesterday,today,tomorrow}', word) - 2;
        RETURN;
    END IF;
    BEGIN
        local := item::timestamp;
        here := item::timestamptz;
        PERFORM set_config('TimeZone', 'Etc/GMT-14', true);
        elsewhere := item::timestamptz;
        PERFORM set_config('TimeZone', 'UTC', true);
    EXCEPTION WHEN data_exception THEN
        RAISE invalid_datetime_format USING MESSAGE = format('%s "%s" is neither a date nor a time', argument, item),
            DETAIL = SQLERRM || '.',
            HINT = format('Write days as %s => ''2024-06-30'' '
                          'and times as %1$s => ''2024-06-30 18:00 Europe/Berlin''.', argument);
    END;
    has_clock := local <> date_trunc('day', local)
        OR regexp_replace(word, '([+-][0-9]{1,2}(:?[0-9]{2}){0,2}|z)$', '') ~ '([0-9]:[0-9]|[0-9]t[0-9])';
    IF NOT isfinite(local) THEN
        RAISE invalid_parameter_value USING MESSAGE = format('%s must be finite', argument);
    ELSIF here <> elsewhere THEN
        day := CASE WHEN NOT has_clock THEN local::date END;
        instant := CASE WHEN has_clock THEN local AT TIME ZONE time_zone END;
    ELSIF has_clock THEN
        instant := here;
    ELSE
        RAISE invalid_parameter_value USING
            MESSAGE = format('%s "%s" is a day in a time zone of its own', argument, item),
            DETAIL = 'A day stands for its end, in the time zone of the argument time_zone.',
            HINT = format('Write the day alone, or an instant such as %s => ''2024-06-30 24:00+02''.', argument);
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.parse_cutoff IS 'one cut-off as a day or as an instant; the other one is null';

CREATE FUNCTION ltv.parse_cutoffs(as_of ltv.cutoffs, time_zone text, OUT days date[], OUT instants timestamptz[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    given text[];
BEGIN
    IF as_of IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'as_of must not be null',
            HINT = 'Give the last day that the features may see, for example as_of => ''1997-09-30''.';
    END IF;
    BEGIN
        given := CASE WHEN as_of::text ~ '^[[:space:]]*[{]' THEN as_of::text::text[] ELSE ARRAY[as_of::text] END;
    EXCEPTION WHEN data_exception THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('as_of is not a list of cut-offs: %s', as_of),
            DETAIL = SQLERRM || '.',
            HINT = 'Write several as as_of => ''{2024-03-31,2024-06-30}''.';
    END;
    IF cardinality(given) = 0 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'as_of names no cut-off',
            HINT = 'Give at least one day, for example as_of => ''1997-09-30''.';
    ELSIF EXISTS (SELECT FROM unnest(given) item WHERE item IS NULL) THEN
        RAISE null_value_not_allowed USING MESSAGE = 'as_of must not contain null';
    END IF;
    SELECT COALESCE(array_agg(DISTINCT c.day ORDER BY c.day) FILTER (WHERE c.day IS NOT NULL), '{}'),
           COALESCE(array_agg(DISTINCT c.instant ORDER BY c.instant) FILTER (WHERE c.instant IS NOT NULL), '{}')
    INTO days, instants FROM unnest(given) item, ltv.parse_cutoff(item, time_zone, 'as_of') c;
    IF cardinality(days) > 0 AND cardinality(instants) > 0 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'as_of mixes days and times',
            DETAIL = 'A day stands for its end, a time for itself.', HINT = 'Give only days, or only times.';
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.parse_cutoffs IS 'cut-offs as days or as instants, sorted; the other array is empty';

-- It may be tomorrow already where the session is.
CREATE FUNCTION ltv.parse_log_end(log_end ltv.cutoffs, time_zone text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    given text[] := CASE WHEN log_end::text ~ '^[{]' THEN log_end::text::text[] ELSE ARRAY[log_end::text] END;
    parsed record;
BEGIN
    IF log_end IS NULL THEN
        RETURN NULL;
    ELSIF cardinality(given) <> 1 OR given[1] IS NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'log_end must be one day or one time';
    END IF;
    parsed := ltv.parse_cutoff(given[1], time_zone, 'log_end');
    IF parsed.day > greatest((now() AT TIME ZONE time_zone)::date, current_date) OR parsed.instant > now() THEN
        RAISE invalid_parameter_value USING MESSAGE = format('log_end %s lies in the future', given[1]),
            DETAIL = 'A log cannot be complete for days to come.',
            HINT = 'Leave log_end out where the log is complete up to its last order.';
    END IF;
    RETURN COALESCE(to_jsonb(parsed.day), to_jsonb(parsed.instant)) #>> '{}';
END
$$;
COMMENT ON FUNCTION ltv.parse_log_end IS 'up to when a log is complete, as a day or an instant';

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
    BEGIN
        span := CASE WHEN horizon::text ~ '^[[:space:]]*[+-]?[0-9]+([.][0-9]*)?[[:space:]]*$'
                     THEN horizon::text || ' days'
                     ELSE horizon::text END::interval;
    EXCEPTION WHEN data_exception THEN
        RAISE invalid_datetime_format USING
            MESSAGE = format('the horizon "%s" is neither a number of days nor an interval', horizon),
            HINT = 'Give the number of days to look ahead, for example horizon => 365, '
                   'or an interval such as ''6 months''.';
    END;
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

-- Numbers of days of any type arrive here: each has an implicit cast to float8.
CREATE FUNCTION ltv.parse_windows(windows float8[]) RETURNS int[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF windows IS NULL
        OR EXISTS (SELECT FROM unnest(windows) w WHERE (w BETWEEN 1 AND 36500 AND w = floor(w)) IS NOT TRUE) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'windows must be whole numbers of days from 1 to 36500',
            HINT = 'For example windows => ''{7,30,90}''; an empty array makes none.';
    END IF;
    RETURN ARRAY(SELECT DISTINCT w::int AS days FROM unnest(windows) w ORDER BY days);
END
$$;
COMMENT ON FUNCTION ltv.parse_windows IS 'windows in days, sorted';

CREATE FUNCTION ltv.parse_days(argument text, given float8[], lowest int, example text) RETURNS int[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF given = '{}' OR array_ndims(given) > 1
        OR EXISTS (SELECT FROM unnest(given) d WHERE (d BETWEEN lowest AND 36500 AND d = floor(d)) IS NOT TRUE) THEN
        RAISE invalid_parameter_value
            USING MESSAGE = format('%s must be whole numbers of days from %s to 36500', argument, lowest),
            HINT = format('For example %s => ''%s''.', argument, example);
    END IF;
    RETURN CASE WHEN given IS NOT NULL
           THEN ARRAY(SELECT DISTINCT d::int AS days FROM unnest(given) d ORDER BY days) END;
END
$$;
COMMENT ON FUNCTION ltv.parse_days IS 'a list of days, sorted; null if it is not given';
