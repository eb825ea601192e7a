-- ltv_export_audience: the members of a campaign as advertising platforms want them, hashed here. Contacts are read and
-- returned, never kept.
--
-- What the platforms ask for is stated in "Formatting guidelines for uploading hashed data" (Google Ads Help) and
-- "Customer information parameters" (Meta for Developers). Patterns have no backslash, because
-- standard_conforming_strings may be off where these functions are called. They are called for each row, hence no SET
-- clauses: names are qualified, or were bound when the function was made.

CREATE FUNCTION ltv.sha256_of(value text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN encode(sha256(convert_to(value, 'UTF8')), 'hex');
COMMENT ON FUNCTION ltv.sha256_of IS 'the SHA-256 of a text in UTF-8, in hexadecimal digits';

CREATE FUNCTION ltv.is_sha256(value text) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN btrim(value) ~ '^[0-9a-fA-F]{64}$';
COMMENT ON FUNCTION ltv.is_sha256 IS 'whether a text is a SHA-256 in hexadecimal digits';

CREATE FUNCTION ltv.hashed_email(email text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
DECLARE
    address pg_catalog.text := pg_catalog.lower(pg_catalog.regexp_replace(email, '[[:space:]]+', '', 'g'));
BEGIN
    IF address OPERATOR(pg_catalog.~) '^[0-9a-f]{64}$' THEN
        RETURN address;
    ELSIF address OPERATOR(pg_catalog.~) '^[^@]+@[^@]+$' THEN
        RETURN ltv.sha256_of(address);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION ltv.hashed_email
    IS 'the SHA-256 of an e-mail address as Google and Meta hash it, in lower case without spaces; one that is hashed '
       'already as it is, null for what is none';

-- Digits with the calling code, as E.164 has them behind the plus. A number without one is one of the country whose
-- calling code is given; in most of them it is dialled behind a 0, which Italy keeps.
CREATE FUNCTION ltv.international_phone(phone text, calling_code text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
DECLARE
    dialled pg_catalog.text := pg_catalog.regexp_replace(phone, '[(]0[)]|[^0-9+]', '', 'g');
    digits pg_catalog.text := pg_catalog.replace(dialled, '+', '');
BEGIN
    IF pg_catalog.left(dialled, 2) OPERATOR(pg_catalog.=) '00' THEN
        digits := pg_catalog.substr(digits, 3);
    ELSIF pg_catalog.left(dialled, 1) OPERATOR(pg_catalog.=) '+'
          OR calling_code OPERATOR(pg_catalog.=) '1' AND digits OPERATOR(pg_catalog.~) '^1[0-9]{10}$' THEN
        NULL;
    ELSIF calling_code OPERATOR(pg_catalog.=) '39' THEN
        digits := calling_code OPERATOR(pg_catalog.||) digits;
    ELSE
        digits := calling_code OPERATOR(pg_catalog.||) pg_catalog.ltrim(digits, '0');
    END IF;
    RETURN CASE WHEN digits OPERATOR(pg_catalog.~) '^[1-9][0-9]{7,14}$' THEN digits END;
END
$$;
COMMENT ON FUNCTION ltv.international_phone IS 'a phone number as digits with its calling code; null for what is none';

CREATE FUNCTION ltv.audience_email(email text, platform text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN platform = 'plain' THEN NULLIF(btrim(email), '') ELSE ltv.hashed_email(email) END;
COMMENT ON FUNCTION ltv.audience_email IS 'an e-mail address as a platform wants it';

CREATE FUNCTION ltv.audience_phone(phone text, platform text, calling_code text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN platform = 'plain' THEN COALESCE('+' || ltv.international_phone(phone, calling_code), btrim(phone))
            WHEN ltv.is_sha256(phone) THEN lower(btrim(phone))
            WHEN platform = 'google' THEN ltv.sha256_of('+' || ltv.international_phone(phone, calling_code))
            ELSE ltv.sha256_of(ltv.international_phone(phone, calling_code)) END;
COMMENT ON FUNCTION ltv.audience_phone IS 'a phone number as a platform wants it';

-- Meta wants no punctuation, Google no spaces around.
CREATE FUNCTION ltv.audience_name(name text, platform text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN platform = 'plain' THEN NULLIF(btrim(name), '') WHEN ltv.is_sha256(name) THEN lower(btrim(name))
            ELSE ltv.sha256_of(NULLIF(btrim(regexp_replace(lower(
                CASE platform WHEN 'google' THEN name ELSE regexp_replace(name, '[[:punct:]]', '', 'g') END),
                '[[:space:]]+', ' ', 'g')), '')) END;
COMMENT ON FUNCTION ltv.audience_name IS 'a name as a platform wants it';

CREATE FUNCTION ltv.audience_country(country text, platform text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN platform = 'plain' THEN NULLIF(btrim(country), '')
            WHEN btrim(country) !~ '^[A-Za-z]{2}$' THEN NULL
            WHEN platform = 'google' THEN upper(btrim(country)) ELSE ltv.sha256_of(lower(btrim(country))) END;
COMMENT ON FUNCTION ltv.audience_country IS 'a country, as two letters, as a platform wants it';

-- Meta wants five digits of those of the United States, and area, district and sector of those of the United Kingdom.
CREATE FUNCTION ltv.audience_zip(zip text, country text, platform text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN platform IN ('plain', 'google') THEN NULLIF(btrim(zip), '')
            ELSE ltv.sha256_of(NULLIF(regexp_replace(lower(regexp_replace(zip, '[[:space:]-]', '', 'g')),
                CASE lower(btrim(country)) WHEN 'us' THEN '^(.{5}).*$' WHEN 'gb' THEN '^(.*)[a-z]{2}$'
                                           ELSE '^(.*)$' END, E'\\1'), '')) END;
COMMENT ON FUNCTION ltv.audience_zip IS 'a postal code as a platform wants it';

CREATE TYPE ltv.audience_row AS (
    customer_id text, email text, phone text, first_name text, last_name text, country text, zip text, value float8,
    tier int, change text
);
COMMENT ON TYPE ltv.audience_row IS 'one contact of a member of a campaign, see ltv_export_audience';

CREATE FUNCTION ltv.check_audience(
    platform text, arm text, calling_code text, contacts text, id_column text
) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    names text[] := (ltv.query_columns(contacts)).names;
BEGIN
    IF platform IS NULL OR arm IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'platform and arm must not be null';
    END IF;
    PERFORM ltv.check_choice('platform', platform, '{google,meta,meta_lookalike,plain}');
    PERFORM ltv.check_choice('arm', arm, '{contact,hold_out}');
    IF calling_code !~ '^[1-9][0-9]{0,2}$' THEN
        PERFORM ltv.raise_argument(format('calling_code "%s" is none', calling_code),
            'Give its digits, for example calling_code => ''49'' for numbers of Germany that have none.');
    ELSIF contacts IS NULL AND platform <> 'plain' THEN
        RAISE null_value_not_allowed USING MESSAGE = format('contacts must be given for %s', platform),
            HINT = 'Name a relation or a query with the id and columns such as email and phone.';
    ELSIF contacts IS NOT NULL THEN
        PERFORM ltv.check_column(names, id_column, 'id_column, which contacts must have');
        IF NOT names && '{email,phone,first_name,last_name,country,zip}'
           OR platform <> 'plain' AND NOT names && '{email,phone}' AND NOT names @> '{first_name,last_name,country,zip}'
        THEN
            RAISE undefined_column USING MESSAGE = 'contacts has no column to reach anybody by',
                DETAIL = format('Read are email, phone, or first_name, last_name, country and zip. '
                                'Its columns are: %s.', array_to_string(names[:40], ', ')),
                HINT = 'Name them in a query: contacts => ''SELECT customer_id, mail AS email FROM ...''.';
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.check_audience IS 'an error where an argument of ltv_export_audience cannot be';

-- What of the contacts cannot be used is counted before, without hashing.
CREATE FUNCTION ltv.say_unusable(members text, platform text, calling_code text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    seen jsonb := ltv.read_in('pg_catalog, pg_temp', format($sql$
        SELECT to_jsonb(s) FROM (
            SELECT count(*) FILTER (WHERE NOT a.found) AS unknown,
                   count(*) FILTER (WHERE btrim(a.email) ~ '^([0-9a-fA-F]{32}|[0-9a-fA-F]{40})$') AS other,
                   count(*) FILTER (WHERE a.email <> '' AND NOT ltv.is_sha256(a.email)
                                    AND a.email !~ '@') AS emails,
                   count(*) FILTER (WHERE a.phone <> '' AND NOT ltv.is_sha256(a.phone)
                                    AND ltv.international_phone(a.phone, %L) IS NULL) AS phones,
                   count(*) FILTER (WHERE btrim(a.country) !~ '^([A-Za-z]{2})?$') AS countries
            FROM (%s) a) s$sql$, calling_code, members));
BEGIN
    IF (seen ->> 'unknown')::bigint > 0 THEN
        RAISE NOTICE USING MESSAGE = format('members without a row in contacts: %s', seen ->> 'unknown');
    END IF;
    IF platform = 'plain' THEN
        RETURN;
    END IF;
    IF (seen ->> 'emails')::bigint > 0 THEN
        RAISE NOTICE USING MESSAGE = format('e-mails left out: %s', seen ->> 'emails'),
            DETAIL = CASE WHEN (seen ->> 'other')::bigint > 0 THEN
                format('Of these, %s look like MD5 or SHA-1; the platforms take SHA-256 only.', seen ->> 'other')
                ELSE 'They have no @, and are no SHA-256 either.' END;
    END IF;
    IF (seen ->> 'phones')::bigint > 0 THEN
        RAISE NOTICE USING MESSAGE = format('phone numbers left out: %s', seen ->> 'phones'),
            DETAIL = CASE WHEN calling_code IS NULL THEN 'They have no calling code.' ELSE 'They are none.' END,
            HINT = 'Numbers that begin with + or 00 have one; calling_code names that of the others.';
    END IF;
    IF (seen ->> 'countries')::bigint > 0 THEN
        RAISE NOTICE USING MESSAGE = format('countries left out: %s', seen ->> 'countries'),
            DETAIL = 'They are not written as two letters, such as DE.';
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.say_unusable IS 'says what of the contacts of an audience cannot be used';

-- What the contacts do not have is not computed.
CREATE FUNCTION ltv.audience_columns(names text[], platform text, calling_code text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(CASE WHEN c.name = ANY (names) THEN format(c.call, platform, calling_code) ELSE 'NULL::text' END
                      || ' AS ' || c.name, ', ' ORDER BY c.i)
    FROM (VALUES (1, 'email', 'ltv.audience_email(a.email, %1$L)'),
                 (2, 'phone', 'ltv.audience_phone(a.phone, %1$L, %2$L)'),
                 (3, 'first_name', 'ltv.audience_name(a.first_name, %1$L)'),
                 (4, 'last_name', 'ltv.audience_name(a.last_name, %1$L)'),
                 (5, 'country', 'ltv.audience_country(a.country, %1$L)'),
                 (6, 'zip', 'ltv.audience_zip(a.zip, a.country, %1$L)')) c(i, name, call)
$$;
COMMENT ON FUNCTION ltv.audience_columns IS 'the contacts of an audience as a platform wants them, as SQL';

CREATE FUNCTION ltv.export_audience(
    relation regclass, platform text, contacts text, arm text, changes boolean, id_column text, calling_code text
) RETURNS SETOF ltv.audience_row
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    spec jsonb := ltv.own_campaign(relation);
    name text := ltv.qualified_name(relation);
    own_id text := spec ->> 'id_column';
    names text[] := (ltv.query_columns(contacts)).names;
    members text;
BEGIN
    id_column := COALESCE(id_column, own_id);
    PERFORM ltv.check_audience(platform, arm, calling_code, contacts, id_column);
    members := format(
        'SELECT m.%I::text AS customer_id, m.ltv AS value, m.tier, m.change, %s, %s AS found FROM ONLY %s m', own_id,
        (SELECT string_agg(CASE WHEN c = ANY (names) THEN format('a.%I::text AS %1$I', c)
                                ELSE format('NULL::text AS %I', c) END, ', ')
         FROM unnest('{email,phone,first_name,last_name,country,zip}'::text[]) c),
        CASE WHEN contacts IS NULL THEN 'true' ELSE format('a.%I IS NOT NULL', id_column) END, name);
    IF contacts IS NOT NULL THEN
        members := members || format(E' LEFT JOIN (%s\n) a ON %s', contacts, (ltv.id_match(
            'SELECT * FROM ' || name, own_id, format('m.%I', own_id), 'the campaign', contacts, id_column,
            format('a.%I', id_column), 'contacts')).condition);
    END IF;
    members := members || format(' WHERE m.drawn_arm = %L AND %s%s', arm,
        CASE WHEN changes THEN 'm.change IS NOT NULL' ELSE 'm.left_at IS NULL' END,
        CASE WHEN platform = 'meta_lookalike' THEN ' AND m.ltv > 0' ELSE '' END);
    PERFORM ltv.say_unusable(members, platform, calling_code);
    RETURN QUERY EXECUTE format($sql$
        SELECT * FROM (
            SELECT a.customer_id, %s, %s AS value, a.tier, a.change
            FROM (%s) a WHERE a.found) r
        WHERE %s$sql$, ltv.audience_columns(names, platform, calling_code),
        CASE WHEN platform IN ('plain', 'meta_lookalike') THEN 'round(a.value::numeric, 2)::float8'
             ELSE 'NULL::float8' END, members,
        CASE WHEN platform = 'plain' THEN 'true'
             ELSE 'r.email IS NOT NULL OR r.phone IS NOT NULL OR r.first_name IS NOT NULL AND r.last_name IS NOT NULL '
                  'AND r.country IS NOT NULL AND r.zip IS NOT NULL' END);
END
$$;
COMMENT ON FUNCTION ltv.export_audience(regclass, text, text, text, boolean, text, text)
    IS 'see ltv_export_audience; contacts are bound';

CREATE FUNCTION ltv.export_audience(
    campaign text, platform text, contacts text, arm text, changes boolean, id_column text, calling_code text
) RETURNS SETOF ltv.audience_row
LANGUAGE sql
AS $$
    SELECT * FROM ltv.export_audience(ltv.bind_relation(campaign), platform, ltv.bind_query(contacts), arm, changes,
                                      id_column, calling_code)
$$;
COMMENT ON FUNCTION ltv.export_audience(text, text, text, text, boolean, text, text) IS 'see ltv_export_audience';

CREATE FUNCTION @extschema@.ltv_export_audience(
    campaign     text,
    platform     text,
    contacts     text DEFAULT NULL,
    arm          text DEFAULT 'contact',
    changes      boolean DEFAULT false,
    id_column    text DEFAULT NULL,
    calling_code text DEFAULT NULL
) RETURNS TABLE (
    customer_id text, email text, phone text, first_name text, last_name text, country text, zip text, value float8,
    tier int, change text
)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_export_audience
    IS 'the members of a campaign with their contacts as google, meta or meta_lookalike want them, hashed, or plain; '
       'nothing of it is kept';
