-- Model cards (Mitchell et al. 2019): what a version is, what it was made of, how good it is, what it is for, where it
-- ends, as JSON for programs and as Markdown for people. Everything in them is kept with the version.

-- Sentences that follow from what is known of a version.
CREATE FUNCTION ltv.card_use(about ltv.readable_versions) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_remove(ARRAY[
        CASE WHEN about.schema -> 'outputs' ? 'ltv' AND about.statistics ->> 'horizon' IS NOT NULL
             THEN format('To expect what a customer spends in the %s days after the day that the features are as of.',
                         (about.statistics ->> 'horizon')::float8)
             WHEN about.schema -> 'outputs' ? 'ltv' THEN 'To expect the value of a customer.' END,
        CASE WHEN about.schema -> 'outputs' ? 'purchase_probability' THEN 'To tell how likely a purchase is.' END,
        'To rank customers, and to plan budgets and campaigns over many of them.'], NULL)
$$;
COMMENT ON FUNCTION ltv.card_use IS 'what a version is for';

CREATE FUNCTION ltv.card_limits(about ltv.readable_versions) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_remove(ARRAY[
        'A prediction is a mean. What a single customer spends may be far from it.',
        CASE WHEN about.source = 'imported'
             THEN 'It was imported: what it was trained on, and how good it is, are not known here.' END,
        CASE WHEN about.statistics ->> 'horizon' IS NOT NULL
             THEN format('It says nothing of what comes after %s days.', (about.statistics ->> 'horizon')::float8) END,
        CASE WHEN jsonb_array_length(NULLIF(about.statistics -> 'features', 'null')) > 0
             THEN 'Features beyond the ranges below were not seen in the training.' END,
        CASE WHEN about.metrics ->> 'evaluated_on' = 'training'
             THEN 'No customers were held out of its training: the metrics flatter it.' END,
        CASE WHEN (about.metrics ->> 'total_ratio_high')::float8 > 2 * (about.metrics ->> 'total_ratio_low')::float8
             THEN format('Chance may move the total ratio of the customers held out from %s to %s: they are too few to '
                         'tell the total.', round((about.metrics ->> 'total_ratio_low')::numeric, 2),
                         round((about.metrics ->> 'total_ratio_high')::numeric, 2)) END,
        CASE WHEN about.metrics ? 'quantization' THEN 'Its weights are of 8 bits.' END], NULL)
$$;
COMMENT ON FUNCTION ltv.card_limits IS 'where a version ends';

-- A version that came as a file knows the hash only.
CREATE FUNCTION ltv.query_hash(recipe jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT COALESCE(recipe ->> 'query_sha256',
        encode(sha256(convert_to(COALESCE(recipe ->> 'query', recipe ->> 'relation'), 'UTF8')), 'hex'))
$$;
COMMENT ON FUNCTION ltv.query_hash
    IS 'SHA-256 of the query, or of the name of the relation, that a version learnt from';

CREATE FUNCTION ltv.model_card(model text, version bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    used int := ltv.version_or_champion(model, version);
    about ltv.readable_versions;
BEGIN
    SELECT v.* INTO about FROM ltv.readable_versions v WHERE v.model = model_card.model AND v.version = used;
    RETURN jsonb_build_object(
        'model', about.model, 'version', about.version,
        'aliases', (SELECT COALESCE(jsonb_agg(a.alias ORDER BY a.alias), '[]') FROM ltv.usable_aliases a
                    WHERE a.model = about.model AND a.version = about.version),
        'source', about.source, 'checksum', about.checksum, 'created_at', about.created_at,
        'created_by', pg_get_userbyid(about.created_by), 'pg_ltv_version', about.pg_ltv_version,
        'objective', about.objective, 'backbone', about.backbone, 'target', about.recipe -> 'target',
        'horizon_days', about.statistics -> 'horizon', 'horizons_days', about.schema -> 'horizons',
        'options', about.recipe -> 'options', 'training_seconds', about.training_seconds,
        'data', jsonb_build_object(
            'relation', COALESCE(about.recipe -> 'trained_on', about.recipe -> 'relation'),
            'query_sha256', ltv.query_hash(about.recipe),
            'rows', about.n_rows, 'paying_rows', about.statistics #> '{target,payers}',
            'sample', about.statistics -> 'sample',
            'target_mean', about.statistics #> '{target,mean}', 'target_max', about.statistics #> '{target,max}'),
        'inputs', (SELECT COALESCE(jsonb_agg(jsonb_build_object(
                       'name', f.feature, 'kind', f.kind, 'type', f.type, 'missing', f.missing, 'min', f.min,
                       'max', f.max, 'mean', f.mean, 'categories', f.categories) ORDER BY f.place), '[]')
                   FROM ROWS FROM (ltv.feature_info(about.model, about.version)) WITH ORDINALITY
                        AS f(feature, kind, type, n, missing, mean, std, min, max, quantiles, categories, place)),
        'outputs', about.schema -> 'outputs', 'metrics', about.metrics - 'horizons' - 'evaluated_on',
        'evaluated_on', about.metrics -> 'evaluated_on',
        'intended_use', to_jsonb(ltv.card_use(about)), 'limits', to_jsonb(ltv.card_limits(about)));
END
$$;
COMMENT ON FUNCTION ltv.model_card(text, bigint) IS 'see ltv_model_card';

CREATE FUNCTION @extschema@.ltv_model_card(model text, version bigint DEFAULT NULL) RETURNS jsonb
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_model_card
    IS 'what a version is, what it was made of, how good it is, what it is for and where it ends, as JSON';

-- As Markdown -------------------------------------------------------------------------------------------------------

-- Names of columns and categories are the user's: none may end a cell or begin a tag.
CREATE FUNCTION ltv.card_text(value text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT COALESCE(translate(regexp_replace(value, '([\\`*_{}\[\]|#<>])', '\\\1', 'g'), E'\r\n', '  '), '')
$$;
COMMENT ON FUNCTION ltv.card_text IS 'text that means itself in Markdown';

CREATE FUNCTION ltv.card_number(value jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN jsonb_typeof(value) <> 'number' THEN COALESCE(ltv.card_text(value #>> '{}'), '')
                WHEN abs(value::numeric) >= 1000 OR value::numeric = trunc(value::numeric)
                THEN trim(to_char(value::numeric, 'FM999,999,999,999,999,990'))
                ELSE trim_scale(round(value::numeric, 4))::text END
$$;
COMMENT ON FUNCTION ltv.card_number IS 'a number for people';

CREATE FUNCTION ltv.card_list(items jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT COALESCE(string_agg('- ' || i.item || E'\n', '' ORDER BY i.place), '')
    FROM jsonb_array_elements_text(items) WITH ORDINALITY AS i(item, place)
$$;
COMMENT ON FUNCTION ltv.card_list IS 'sentences as a list in Markdown';

CREATE FUNCTION ltv.card_names(names jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(n.name, ', ' ORDER BY n.place)
    FROM jsonb_array_elements_text(names) WITH ORDINALITY AS n(name, place)
$$;
COMMENT ON FUNCTION ltv.card_names IS 'names one after the other';

-- Rows of two cells, without those that have nothing in the second.
CREATE FUNCTION ltv.card_rows(pairs jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT COALESCE(string_agg(format(E'| %s | %s |\n', p.pair ->> 0, ltv.card_number(p.pair -> 1)), ''
                               ORDER BY p.place), '')
    FROM jsonb_array_elements(pairs) WITH ORDINALITY AS p(pair, place)
    WHERE COALESCE(p.pair -> 1, 'null') NOT IN ('null', '""')
$$;
COMMENT ON FUNCTION ltv.card_rows IS 'pairs of a name and a value as rows of a table in Markdown';

-- None where there is nothing in it, as of an imported version.
CREATE FUNCTION ltv.card_section(title text, introduction text, columns text, rows text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN rows <> ''
                THEN concat(E'\n## ', title, E'\n', E'\n' || introduction || E'\n', E'\n| ', columns, E' |\n|',
                            repeat('---|', length(columns) - length(replace(columns, '|', '')) + 1), E'\n', rows)
                ELSE '' END
$$;
COMMENT ON FUNCTION ltv.card_section IS 'a heading with a table in Markdown';

CREATE FUNCTION ltv.model_card_markdown(model text, version bigint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    card jsonb := ltv.model_card(model, version);
BEGIN
    RETURN concat(
        format(E'# %s, version %s\n', ltv.card_text(card ->> 'model'), card ->> 'version'), E'\n| | |\n|---|---|\n',
        ltv.card_rows(jsonb_build_array(
            jsonb_build_array('aliases', ltv.card_names(card -> 'aliases')),
            jsonb_build_array('objective', card -> 'objective'), jsonb_build_array('backbone', card -> 'backbone'),
            jsonb_build_array('target', card -> 'target'), jsonb_build_array('horizon, days', card -> 'horizon_days'),
            jsonb_build_array('outputs', ltv.card_names(card -> 'outputs')),
            jsonb_build_array('made', left(card ->> 'created_at', 10)), jsonb_build_array('by', card -> 'created_by'),
            jsonb_build_array('pg_ltv', card -> 'pg_ltv_version'), jsonb_build_array('SHA-256', card -> 'checksum'))),
        E'\n## Intended use\n\n', ltv.card_list(card -> 'intended_use'),
        E'\n## Limits\n\n', ltv.card_list(card -> 'limits'),
        ltv.card_section('Training data', NULL, ' | ', ltv.card_rows(jsonb_build_array(
            jsonb_build_array('relation', card #> '{data,relation}'),
            jsonb_build_array('SHA-256 of the query', card #> '{data,query_sha256}'),
            jsonb_build_array('rows', card #> '{data,rows}'), jsonb_build_array('paying', card #> '{data,paying_rows}'),
            jsonb_build_array('rows read, of which a share of the customers was drawn',
                              card #> '{data,sample,rows_read}'),
            jsonb_build_array('mean of the target', card #> '{data,target_mean}'),
            jsonb_build_array('largest target', card #> '{data,target_max}')))),
        ltv.card_section('Metrics', CASE card ->> 'evaluated_on' WHEN 'training'
                THEN 'On the rows that it was trained on.' ELSE 'On customers that were held out of the training.' END,
            ' | ', ltv.card_rows((SELECT jsonb_agg(jsonb_build_array(ltv.card_text(m.key), m.value) ORDER BY m.key)
                                  FROM jsonb_each(card -> 'metrics') m WHERE jsonb_typeof(m.value) = 'number'))),
        ltv.card_section('Features', NULL, 'feature | type | missing | least | largest | categories',
            (SELECT string_agg(format(E'| %s | %s | %s | %s | %s | %s |\n', ltv.card_text(f.e ->> 'name'),
                        ltv.card_text(f.e ->> 'type'), ltv.card_number(f.e -> 'missing'), ltv.card_number(f.e -> 'min'),
                        ltv.card_number(f.e -> 'max'),
                        (SELECT NULLIF(count(*), 0) FROM jsonb_object_keys(NULLIF(f.e -> 'categories', 'null')))), ''
                        ORDER BY f.place)
             FROM jsonb_array_elements(card -> 'inputs') WITH ORDINALITY AS f(e, place))));
END
$$;
COMMENT ON FUNCTION ltv.model_card_markdown(text, bigint) IS 'see ltv_model_card_markdown';

CREATE FUNCTION @extschema@.ltv_model_card_markdown(model text, version bigint DEFAULT NULL) RETURNS text
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_model_card_markdown IS 'the model card of a version as a page of Markdown';
