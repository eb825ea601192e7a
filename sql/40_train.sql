-- Training, seen from SQL: ltv_train and ltv_compare check what is asked for and queue a job.
-- The job is run by a background worker, as the role that queued it, once the transaction has committed.

CREATE FUNCTION ltv.check_recipe(recipe jsonb) RETURNS void LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'ltv_check_recipe';
COMMENT ON FUNCTION ltv.check_recipe
    IS 'an error if something is wrong with a recipe: its query, the types of the columns, an option';

-- What the worker has to set so that the query means to it what it means to the session that queued it.
CREATE FUNCTION ltv.job_settings(path text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_object_agg(name, setting) || jsonb_build_object('search_path', path) FROM pg_settings
    WHERE name IN ('row_security', 'TimeZone', 'DateStyle', 'IntervalStyle', 'standard_conforming_strings')
       OR (name LIKE 'ltv.%' AND source = 'session' AND context = 'user')
$$;
COMMENT ON FUNCTION ltv.job_settings
    IS 'the settings of this session that a job takes along, with the search_path of whoever queues it';

-- What the worker, another session, cannot see.
CREATE FUNCTION ltv.refuse_temporary(query text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    passing text := (SELECT c.relname FROM pg_class c
                     WHERE c.oid = ANY (ltv.query_relations(query)) AND c.relpersistence = 't'
                     ORDER BY c.relkind = 'v', c.relname LIMIT 1);
BEGIN
    IF passing IS NOT NULL THEN
        RAISE feature_not_supported USING
            MESSAGE = format('"%s" is a temporary table, which the training worker cannot see', passing),
            HINT = 'Use an ordinary or an unlogged table.';
    -- Functions and types, whose schema the text of a bound query names; not what its literals say.
    ELSIF regexp_replace(query, '''([^'']|'''')*''', '', 'g') ~ '(^|[^[:alnum:]_"])pg_temp(_[0-9]+)?[.]' THEN
        RAISE feature_not_supported USING
            MESSAGE = 'the query uses a temporary function or type, which the training worker cannot see',
            HINT = 'Create it in an ordinary schema.';
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.refuse_temporary
    IS 'an error where a query reads a temporary table or uses another temporary object';

-- What a job would find out, said while somebody is there to read it. A table is searched up to the first row that has
-- a target. So is a query, if it does nothing but read and would be read to its end in about a second. If it cannot be
-- read, the job says why.
CREATE FUNCTION ltv.refuse_unlabelled(relation regclass, query text, path text, target text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    quick CONSTANT float8 := 1e5;
    labelled jsonb;
BEGIN
    BEGIN
        IF EXISTS (SELECT FROM pg_class c WHERE c.oid = relation AND c.relkind IN ('r', 'p', 'm'))
           OR ltv.read_in(path, format(
               'SELECT pg_catalog.to_jsonb(ltv.reading_cost(%L))', query))::float8 <= quick THEN
            labelled := ltv.read_in(path, format($sql$
                SELECT pg_catalog.to_jsonb(EXISTS (SELECT FROM (%s
                ) t WHERE t.%I IS NOT NULL) OR NOT EXISTS (%1$s
                ))$sql$, query, target));
        END IF;
    EXCEPTION WHEN OTHERS THEN
        RETURN;
    END;
    IF labelled = 'false' THEN
        RAISE data_exception USING MESSAGE = format('no row has a target "%s" to learn from', target),
            HINT = 'Where features are built for a day whose horizon has not passed, the target is null; '
                   'take an earlier as_of.';
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.refuse_unlabelled
    IS 'an error where the target is null in every row of a table or of a quick query';

-- A relation that a version was trained on is followed through new names and schemas, and if it was
-- made again under its name, it is the new one; unless that is another role's, whose functions
-- would run with the rights of the model's owner.
CREATE FUNCTION ltv.trained_relation(owner regrole, recipe jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    saved jsonb := recipe -> 'relation_followed';
    found record := ltv.followed((saved ->> 'oid')::oid::regclass, saved);
BEGIN
    IF recipe ->> 'relation' IS NULL THEN
        RETURN NULL;
    ELSIF found.replaced_by <> pg_get_userbyid(owner)
        AND NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = found.replaced_by) THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('%s was dropped and made again by role "%s"', found.relation, found.replaced_by),
            DETAIL = 'Reading it would run whatever its new owner has put there '
                     'with the rights of the owner of the model.',
            HINT = 'If that is as it should be, train a new version on it with ltv_train.';
    END IF;
    RETURN COALESCE(found.relation, recipe ->> 'relation');
END
$$;
COMMENT ON FUNCTION ltv.trained_relation IS 'the present name of the relation of a recipe; NULL if that has a query';

-- What ltv_train and ltv_compare have in common. relation_given: what is named, if it is no
-- query; bound: with qualified names. The recipe keeps a query as it was written, with its
-- search_path, so that SELECT * goes on meaning all columns.
CREATE FUNCTION ltv.queue_training(
    model text, kind text, relation text, query text, relation_given regclass, bound text, path text, target text,
    id_column text, objective text, backbone text, features text[], split_column text, options jsonb, preset text,
    promote boolean, compare jsonb, exclude text[]
) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    recipe jsonb;
    relation_name text := (SELECT format('%I.%I', n.nspname, c.relname)
                           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                           WHERE c.oid = relation_given);
BEGIN
    PERFORM ltv.claim_model(model);
    IF num_nonnulls(relation, query) <> 1 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'give either a relation or a query to train on',
            HINT = 'For example ltv_train(''my_model'', ''customer_features''), or query => ''SELECT ...''.';
    ELSIF target IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'the target must not be null',
            HINT = 'Name the column that holds the money spent in the horizon.';
    ELSIF jsonb_typeof(options) IS DISTINCT FROM 'object' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'options must be a JSON object',
            HINT = 'For example options => ''{"seed": 7}''.';
    ELSIF cardinality(features) = 0 OR array_ndims(features) > 1 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'features must be a list of one or more columns',
            HINT = 'Leave it out to use every column but the target and the id.';
    ELSIF array_ndims(exclude) > 1 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'exclude must be a list of columns',
            HINT = 'For example exclude => ''{first_month,first_amount}''.';
    ELSIF array_position(features, NULL) IS NOT NULL OR array_position(exclude, NULL) IS NOT NULL THEN
        RAISE null_value_not_allowed USING
            MESSAGE = format('%s must not contain null',
                             CASE WHEN array_position(features, NULL) IS NOT NULL THEN 'features' ELSE 'exclude' END);
    ELSIF features IS NOT NULL AND exclude IS NOT NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'give either the features to use or those to exclude';
    END IF;
    PERFORM ltv.refuse_temporary(bound);
    IF relation_name IS NOT NULL AND id_column = 'customer_id' THEN
        id_column := COALESCE(ltv.features_id_column(relation_name), id_column);
    END IF;
    recipe := jsonb_build_object(
        'relation', relation_name,
        'query', CASE WHEN relation_name IS NULL
                      THEN regexp_replace(COALESCE(query, relation), '[;[:space:]]+$', '') END,
        'target', target, 'id_column', id_column, 'split_column', split_column, 'features', features,
        'options', options,
        'objective', COALESCE(objective, CASE WHEN preset IS NULL THEN 'ziln' END),
        'backbone', COALESCE(backbone, CASE WHEN preset IS NULL THEN 'mlp' END), 'preset', preset,
        'promote', COALESCE(promote, objective IS NOT DISTINCT FROM 'auto'), 'search_path', path);
    recipe := recipe || CASE WHEN relation_name IS NOT NULL
        THEN jsonb_build_object('relation_followed', ltv.to_follow(relation_name))
        ELSE jsonb_build_object('reads',
            (SELECT jsonb_agg(ltv.to_follow(ltv.qualified_name(r)) ORDER BY r)
             FROM unnest(ltv.query_relations(bound)) r)) END;
    IF exclude IS NOT NULL THEN
        recipe := recipe || jsonb_build_object('exclude', exclude);
    END IF;
    IF objective = 'auto' THEN
        recipe := recipe || jsonb_build_object('compare', COALESCE(compare,
            CASE WHEN backbone IS NULL THEN '{}' ELSE jsonb_build_object('backbones', ARRAY[backbone]) END));
    END IF;
    PERFORM ltv.check_recipe(recipe);
    PERFORM ltv.refuse_unlabelled(relation_given, bound, path, target);
    RETURN ltv.queue_job(model, COALESCE(kind, CASE objective WHEN 'auto' THEN 'compare' ELSE 'train' END),
                         recipe, ltv.job_settings(path),
                         quote_ident(current_user)::regrole);
END
$$;
COMMENT ON FUNCTION ltv.queue_training IS 'checks a recipe and queues its training';

-- Names in it are the caller's, hence no search_path of its own.
CREATE FUNCTION ltv.train(
    model text, relation text, target text, id_column text, objective text, backbone text, features text[],
    split_column text, options jsonb, query text, preset text, promote boolean, exclude text[]
) RETURNS bigint
LANGUAGE sql
AS $$
    SELECT ltv.queue_training(model, NULL, relation, query, ltv.bind_relation(COALESCE(query, relation)),
        ltv.bind_query(COALESCE(query, relation)),
        pg_catalog.current_setting('search_path'), target, id_column, objective, backbone, features, split_column,
        options, preset, promote, NULL, exclude)
$$;
COMMENT ON FUNCTION ltv.train IS 'see ltv_train';

CREATE FUNCTION @extschema@.ltv_train(
    model        text,
    relation     text DEFAULT NULL,
    target       text DEFAULT 'ltv',
    id_column    text DEFAULT 'customer_id',
    objective    text DEFAULT NULL,
    backbone     text DEFAULT NULL,
    features     text[] DEFAULT NULL,
    split_column text DEFAULT NULL,
    options      jsonb DEFAULT '{}',
    query        text DEFAULT NULL,
    preset       text DEFAULT NULL,
    promote      boolean DEFAULT NULL,
    exclude      text[] DEFAULT NULL
) RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_train IS 'queues the training of a new version of a model and returns the job';
