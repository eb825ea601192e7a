-- Interim: what the parts that are being rewritten still call.
CREATE FUNCTION ltv.is_query(source text) RETURNS boolean LANGUAGE sql STABLE
AS $$ SELECT ltv.bind_relation(source) IS NULL $$;
CREATE FUNCTION ltv.resolve_relation(source text) RETURNS text LANGUAGE sql STABLE
AS $$ SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.oid = ltv.bind_relation(source) $$;
CREATE FUNCTION ltv.query_text(source text) RETURNS text LANGUAGE sql STABLE AS $$ SELECT ltv.bind_query(source) $$;
