-- Names of ours mean nothing of the caller's: a schema with functions, operators and types that would be a better match than those of
-- pg_catalog changes nothing. What the caller's query calls finds its names in the caller's search_path.
\set SHOW_CONTEXT never
CREATE TABLE orders AS SELECT i % 100 AS customer_id, date '2023-01-01' + i * 7919 % 700 AS d, (i * 37 % 90 + 1)::numeric AS amount FROM generate_series(1, 2000) i;
CREATE TABLE crm AS SELECT i::text AS customer_id, i % 3 AS segment FROM generate_series(0, 99) i;
SELECT ltv_create_features('plain', 'orders', date_column => 'd', value_column => 'amount', as_of => '{2023-06-30,2023-12-31}', horizon => 180, attributes => 'crm', sequence => true);
SELECT ltv_create_features('plain_at', 'SELECT customer_id, d::timestamp AS d, amount FROM orders', date_column => 'd', value_column => 'amount', as_of => '{2023-06-30 12:00,2023-12-31 12:00}', horizon => 180,
                           time_zone => 'Europe/Berlin', log_end => '2024-11-01T12:00:00Z');

CREATE SCHEMA trap;
CREATE FUNCTION trap.spring(anyelement) RETURNS anyelement LANGUAGE plpgsql AS $$ BEGIN RAISE 'caught'; END $$;
-- Functions and aggregates for exactly the types that occur, and operators for all pairs of them.
DO $$
DECLARE
    t text;
    u text;
    f record;
BEGIN
    FOREACH t IN ARRAY '{int4,int8,numeric,float8,float4,date,timestamp,timestamptz,text,bool,jsonb,float8[],float4[],text[],int4[],interval,name,oid}'::text[] LOOP
        FOR f IN SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND proname = ANY ('{min,max,sum,count,stddev_samp,array_agg,greatest,coalesce,abs,format,quote_ident,quote_literal,lower,btrim,
                unnest,array_to_string,cardinality,to_jsonb,jsonb_build_object,jsonb_build_array,jsonb_array_elements_text,string_agg,concat_ws,date_trunc,make_interval,now,timezone,extract,date,float8,numeric,text,int4,array_remove,
                array_position,replace,starts_with,pg_typeof,json_object_keys,row_to_json,to_regclass,current_setting,set_config}'::text[]) LOOP
            EXECUTE format('CREATE FUNCTION trap.%I(%s) RETURNS %2$s LANGUAGE plpgsql AS $f$ BEGIN RAISE ''caught %1$s''; END $f$', f.proname, t);
        END LOOP;
        FOREACH u IN ARRAY '{int4,int8,numeric,float8,float4,date,timestamp,timestamptz,text,bool,interval,jsonb,text[]}'::text[] LOOP
            EXECUTE format('CREATE FUNCTION trap.operate(%s, %s) RETURNS bool LANGUAGE plpgsql AS $f$ BEGIN RAISE ''caught an operator for %1$s and %2$s''; END $f$', t, u);
            FOR f IN SELECT o FROM unnest('{<,<=,=,<>,>=,>,+,-,*,/,||,~,!~,->,->>,&&,@>}'::text[]) o LOOP
                EXECUTE format('CREATE OPERATOR trap.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = trap.operate)', f.o, t, u);
            END LOOP;
        END LOOP;
    END LOOP;
    FOREACH t IN ARRAY '{date,timestamptz,timestamp,float8,numeric,text,int4,jsonb,regclass}'::text[] LOOP
        EXECUTE format('CREATE DOMAIN trap.%I AS pg_catalog.%1$I CHECK (false)', t);
    END LOOP;
END
$$;
CREATE TABLE trap.rates AS SELECT 1::numeric AS rate;
SET search_path = public, trap;
CREATE FUNCTION trap.converted(amount pg_catalog.numeric) RETURNS pg_catalog.numeric LANGUAGE sql STABLE AS $$ SELECT amount OPERATOR(pg_catalog.*) rate FROM rates $$;
SELECT ltv_create_features('trapped', 'SELECT customer_id, d, converted(amount) AS amount FROM orders', date_column => 'd', value_column => 'amount', as_of => '{2023-06-30,2023-12-31}', horizon => 180, attributes => 'crm', sequence => true);
SELECT ltv_create_features('trapped_view', 'orders', date_column => 'd', value_column => 'amount', as_of => '{2023-06-30,2023-12-31}', horizon => 180, attributes => 'crm', sequence => true, materialized => false);
SELECT ltv_create_features('trapped_at', 'SELECT customer_id, d::pg_catalog.timestamp AS d, converted(amount) AS amount FROM orders', date_column => 'd', value_column => 'amount', as_of => '{2023-06-30 12:00,2023-12-31 12:00}', horizon => 180,
                           time_zone => 'Europe/Berlin', log_end => '2024-11-01T12:00:00Z');
SELECT ltv_refresh_features('trapped');
SELECT ltv_refresh_features('trapped_view');
SELECT ltv_refresh_features('trapped_at');
SELECT pg_catalog.count(*) FROM ltv_rfm_summary('SELECT customer_id, d, converted(amount) AS amount FROM orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', days_per_unit => 7);
SELECT pg_catalog.count(*) FROM ltv_rfm_summary('orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31 12:00', days_per_unit => 7);
SELECT ltv_create_features('x', 'SELECT customer_id, d::pg_catalog.text AS d, amount FROM orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 180);
RESET search_path;
SELECT ltv_refresh_features('trapped');
SELECT count(*) FROM (TABLE plain EXCEPT ALL TABLE trapped) x;
SELECT count(*) FROM (TABLE plain EXCEPT ALL TABLE trapped_view) x;
SELECT count(*) FROM (TABLE plain_at EXCEPT ALL TABLE trapped_at) x;
-- No search_path at all, and none with the extension in it.
SET search_path = '';
SELECT public.ltv_refresh_features('public.trapped');
SELECT public.ltv_create_features('public.no_path', 'public.orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 180);
SELECT public.ltv_create_features('no_path', 'public.orders', date_column => 'd', value_column => 'amount', as_of => '2023-12-31', horizon => 180);
RESET search_path;
