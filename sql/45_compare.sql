-- Comparing objectives, backbones and settings: ltv_compare queues a job that tries them and trains the best one on all
-- rows; ltv_comparison shows how each did.

CREATE FUNCTION ltv.compare(
    model text, relation text, target text, id_column text, objectives text[], backbones text[], search jsonb,
    budget interval, trials int, features text[], split_column text, options jsonb, query text, promote boolean,
    exclude text[]
) RETURNS bigint
LANGUAGE sql
AS $$
    SELECT ltv.queue_training(model, 'compare', relation, query, ltv.bind_relation(COALESCE(query, relation)),
        ltv.bind_query(COALESCE(query, relation)),
        pg_catalog.current_setting('search_path'), target, id_column, 'auto', NULL, features, split_column,
        options, NULL, promote,
        pg_catalog.jsonb_build_object('objectives', objectives, 'backbones', backbones, 'search', search,
                                      'budget', extract(epoch FROM budget), 'trials', trials), exclude)
$$;
COMMENT ON FUNCTION ltv.compare IS 'see ltv_compare';

CREATE FUNCTION @extschema@.ltv_compare(
    model        text,
    relation     text DEFAULT NULL,
    target       text DEFAULT 'ltv',
    id_column    text DEFAULT 'customer_id',
    objectives   text[] DEFAULT NULL,
    backbones    text[] DEFAULT NULL,
    search       jsonb DEFAULT NULL,
    budget       interval DEFAULT NULL,
    trials       int DEFAULT NULL,
    features     text[] DEFAULT NULL,
    split_column text DEFAULT NULL,
    options      jsonb DEFAULT '{}',
    query        text DEFAULT NULL,
    promote      boolean DEFAULT true,
    exclude      text[] DEFAULT NULL
) RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_compare
    IS 'queues a job that tries several models on a part of the customers and trains the best one on all; '
       'returns the job';

CREATE FUNCTION ltv.comparison(model text, version bigint)
RETURNS TABLE (
    candidate text, objective text, backbone text, options jsonb, normalized_gini float8, spearman float8,
    decile_mape float8, total_ratio float8, seconds float8, chosen boolean, error text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted int := ltv.version_or_champion(model, version);
BEGIN
    RETURN QUERY
    SELECT c.e ->> 'candidate', c.e ->> 'objective', c.e ->> 'backbone',
           c.e -> 'options', (c.e ->> 'normalized_gini')::float8, (c.e ->> 'spearman')::float8,
           (c.e ->> 'decile_mape')::float8, (c.e ->> 'total_ratio')::float8, (c.e ->> 'seconds')::float8,
           (c.e ->> 'chosen')::boolean, c.e ->> 'error'
    FROM ltv.readable_versions v,
         jsonb_array_elements(v.history #> '{comparison,candidates}') WITH ORDINALITY AS c(e, i)
    WHERE v.model = comparison.model AND v.version = wanted
    ORDER BY (c.e ->> 'chosen')::boolean DESC,
             (c.e ->> 'normalized_gini')::float8 + (c.e ->> 'spearman')::float8 DESC NULLS LAST, c.i;
END
$$;
COMMENT ON FUNCTION ltv.comparison(text, bigint) IS 'see ltv_comparison';

CREATE FUNCTION @extschema@.ltv_comparison(model text, version bigint DEFAULT NULL)
RETURNS TABLE (
    candidate text, objective text, backbone text, options jsonb, normalized_gini float8, spearman float8,
    decile_mape float8, total_ratio float8, seconds float8, chosen boolean, error text
)
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_comparison
    IS 'the candidates that a version was chosen from, the best first; no row where it was not chosen by a comparison';
