-- ltv_export_conversions: conversions with the predicted value of the customer, and their restatements, for bidding by
-- value. Contacts are read, hashed and returned, never kept.
--
-- The columns are those of the templates of Google Ads ("Import conversions from ad clicks", "Enhanced conversions for
-- leads", "How to adjust your conversions" in Google Ads Help). A conversion that was sent before is told by its order
-- id; a value restated to 0 could never be changed again, so there is none.

CREATE TYPE ltv.conversion_row AS (
    order_id text, customer_id text, gclid text, email text, phone text, conversion_name text, "time" text,
    value float8, currency text, adjustment_type text
);
COMMENT ON TYPE ltv.conversion_row IS 'one conversion or restatement, see ltv_export_conversions';

-- For conversions, other than for audiences, Google takes the dots of its own addresses away.
CREATE FUNCTION ltv.conversion_email(email text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ltv.hashed_email(CASE WHEN btrim(email) ~* '^[^@]+@(gmail|googlemail)[.]com$'
                        THEN replace(split_part(email, '@', 1), '.', '') || '@' || split_part(email, '@', 2)
                        ELSE email END);
COMMENT ON FUNCTION ltv.conversion_email IS 'the SHA-256 of an e-mail address as Google hashes it for conversions';

CREATE FUNCTION ltv.check_order_ids(query text, argument text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    repeated text;
BEGIN
    IF query IS NOT NULL THEN
        EXECUTE format('SELECT min(q.order_id::text) FROM (%s' || E'\n) q WHERE q.order_id IS NOT NULL '
                       'GROUP BY q.order_id::text HAVING count(*) > 1 ORDER BY 1 LIMIT 1', query) INTO repeated;
    END IF;
    IF repeated IS NOT NULL THEN
        RAISE cardinality_violation USING
            MESSAGE = format('%s has more than one row for order "%s"', argument, repeated),
            HINT = 'Give one row per order, for example the newest with SELECT DISTINCT ON (order_id).';
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.check_order_ids IS 'an error where a query has more than one row for an order';

CREATE FUNCTION ltv.check_conversions(
    conversions text, scores text, conversion_name text, currency text, sent text, minimum_change float8,
    id_column text, calling_code text
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    names text[] := (ltv.query_columns(conversions)).names;
BEGIN
    IF conversion_name IS NULL OR conversion_name = '' THEN
        PERFORM ltv.raise_argument('conversion_name must be given',
            'It is that of the conversion action in Google Ads.');
    ELSIF currency !~ '^[A-Z]{3}$' THEN
        PERFORM ltv.raise_argument(format('currency "%s" is none', currency), 'Give its code, for example EUR.');
    ELSIF minimum_change IS NULL OR NOT (minimum_change >= 0 AND minimum_change < 'Infinity') THEN
        PERFORM ltv.raise_argument('minimum_change must not be negative',
            'It is relative: 0.05, the default, restates values that have changed by more than a twentieth.');
    ELSIF calling_code !~ '^[1-9][0-9]{0,2}$' THEN
        PERFORM ltv.raise_argument(format('calling_code "%s" is none', calling_code),
            'Give its digits, for example calling_code => ''49'' for numbers of Germany that have none.');
    END IF;
    PERFORM ltv.check_column(names, c, 'conversions')
    FROM unnest(ARRAY[id_column, 'order_id', 'conversion_time']) c;
    PERFORM ltv.date_type_of(conversions, 'conversion_time', 'conversions');
    PERFORM ltv.check_column((ltv.query_columns(scores)).names, c, 'scores') FROM unnest(ARRAY[id_column, 'ltv']) c;
    PERFORM ltv.check_column((ltv.query_columns(sent)).names, c, 'sent') FROM unnest('{order_id,value}'::text[]) c
    WHERE sent IS NOT NULL;
    IF NOT names && '{gclid,email,phone}' THEN
        RAISE undefined_column USING MESSAGE = 'conversions has no column to find the click by',
            DETAIL = format('Read are gclid, email and phone. Its columns are: %s.',
                            array_to_string(names[:40], ', ')),
            HINT = 'Name them in a query: conversions => ''SELECT customer_id, id AS order_id, ... FROM ...''.';
    END IF;
    PERFORM ltv.check_single('pg_catalog, pg_temp', scores, id_column, format('a.%I', id_column), NULL, 'scores'),
            ltv.check_single('pg_catalog, pg_temp', conversions, id_column, format('a.%I', id_column), NULL,
                             'conversions'),
            ltv.check_order_ids(conversions, 'conversions'), ltv.check_order_ids(sent, 'sent');
END
$$;
COMMENT ON FUNCTION ltv.check_conversions IS 'an error where an argument of ltv_export_conversions cannot be';

CREATE FUNCTION ltv.conversions_of(
    conversions text, scores text, conversion_name text, currency text, sent text, minimum_change float8,
    id_column text, calling_code text
) RETURNS SETOF ltv.conversion_row
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC'
AS $$
DECLARE
    names text[] := (ltv.query_columns(conversions)).names;
BEGIN
    PERFORM ltv.check_conversions(conversions, scores, conversion_name, currency, sent, minimum_change, id_column,
                                  calling_code);
    RETURN QUERY EXECUTE ltv.fill_in($sql$
        SELECT r.order_id, r.customer_id, r.gclid, r.email, r.phone, $1,
               to_char(CASE WHEN r.sent IS NULL THEN r.conversion_time ELSE now() END, 'YYYY-MM-DD HH24:MI:SS')
                   || '+0000',
               r.value, $2, CASE WHEN r.sent IS NOT NULL THEN 'RESTATE' END
        FROM (SELECT c.order_id::text, c.{id}::text AS customer_id, c.conversion_time::timestamptz AS conversion_time,
                     {gclid} AS gclid, {email} AS email, {phone} AS phone, round(s.ltv::numeric, 2)::float8 AS value,
                     t.value AS sent
              FROM ({conversions}
                   ) c
              JOIN ({scores}
                   ) s ON {same}
              LEFT JOIN (SELECT x.order_id::text AS order_id, x.value::float8 AS value FROM ({sent}
                        ) x) t ON t.order_id = c.order_id::text
              WHERE c.order_id IS NOT NULL) r
        WHERE r.value > 0 AND (r.gclid IS NOT NULL OR r.email IS NOT NULL OR r.phone IS NOT NULL)
          AND (r.sent IS NULL OR abs(r.value - r.sent) > $3 * greatest(r.value, r.sent))
        ORDER BY r.conversion_time, r.order_id$sql$, jsonb_build_object(
        'id', quote_ident(id_column), 'conversions', conversions, 'scores', scores,
        'sent', COALESCE(sent, 'SELECT NULL::text AS order_id, NULL::float8 AS value WHERE false'),
        'gclid', CASE WHEN 'gclid' = ANY (names) THEN 'NULLIF(btrim(c.gclid::text), '''')' ELSE 'NULL::text' END,
        'email', CASE WHEN 'email' = ANY (names) THEN 'ltv.conversion_email(c.email::text)' ELSE 'NULL::text' END,
        'phone', CASE WHEN 'phone' = ANY (names)
                 THEN format('ltv.audience_phone(c.phone::text, ''google'', %L)', calling_code) ELSE 'NULL::text' END,
        'same', (ltv.id_match(conversions, id_column, format('c.%I', id_column), 'conversions', scores, id_column,
                              format('s.%I', id_column), 'scores')).condition))
    USING conversion_name, currency, minimum_change;
END
$$;
COMMENT ON FUNCTION ltv.conversions_of IS 'see ltv_export_conversions; the queries are bound';

CREATE FUNCTION ltv.export_conversions(
    conversions text, scores text, conversion_name text, currency text, sent text, minimum_change float8,
    id_column text, calling_code text
) RETURNS SETOF ltv.conversion_row
LANGUAGE sql
AS $$
    SELECT * FROM ltv.conversions_of(ltv.given_query(conversions), ltv.given_query(scores), conversion_name, currency,
                                     ltv.bind_query(sent), minimum_change, id_column, calling_code)
$$;
COMMENT ON FUNCTION ltv.export_conversions IS 'see ltv_export_conversions';

CREATE FUNCTION @extschema@.ltv_export_conversions(
    conversions     text,
    scores          text,
    conversion_name text,
    currency        text DEFAULT NULL,
    sent            text DEFAULT NULL,
    minimum_change  float8 DEFAULT 0.05,
    id_column       text DEFAULT 'customer_id',
    calling_code    text DEFAULT NULL
) RETURNS TABLE (
    order_id text, customer_id text, gclid text, email text, phone text, conversion_name text, "time" text,
    value float8, currency text, adjustment_type text
)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_export_conversions
    IS 'conversions with the predicted value of their customers, for bidding by value; of those that were sent, '
       'restatements of the values that have changed';
