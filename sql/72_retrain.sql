-- Keeping a model fresh: retraining, the promotion rule that decides between champion and challenger, how many versions
-- are kept.
--
-- A retrained version is judged on customers that it was not trained on: a share of them, always the same ones because
-- a hash of the id decides, is held out of every retraining, and both versions score these on today's data.

CREATE FUNCTION ltv.held_out(id text, share float8) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ltv.customer_fraction('held out:', id) < share;
COMMENT ON FUNCTION ltv.held_out IS 'whether a customer is held out of retrainings, to judge their versions by';

CREATE FUNCTION ltv.check_rule(rule jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM ltv.check_choice('promotion', rule ->> 'promote', '{never,if_better,always}');
    PERFORM ltv.check_choice('metric', rule ->> 'metric',
        ARRAY['normalized_gini', 'spearman', 'auc', 'decile_mape', 'total_ratio', 'rmse', 'mae', 'log_loss']);
    IF (rule ->> 'minimum_gain')::float8 NOT BETWEEN 0 AND 1e9 THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('the minimum gain must not be negative, but is %s', rule ->> 'minimum_gain');
    ELSIF (rule ->> 'held_out')::float8 NOT BETWEEN 0.01 AND 0.9 THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('the share of customers held out must be between 0.01 and 0.9, but is %s',
                             rule ->> 'held_out');
    END IF;
    RETURN rule;
END
$$;
COMMENT ON FUNCTION ltv.check_rule IS 'a promotion rule, or an error';

CREATE FUNCTION ltv.promotion_rule(model text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT '{"promote": "if_better", "metric": "normalized_gini", "minimum_gain": 0, "held_out": 0.2}'::jsonb
        || COALESCE(m.settings -> 'promotion', '{}')
    FROM ltv.usable_models m WHERE m.model = $1
$$;
COMMENT ON FUNCTION ltv.promotion_rule IS 'the promotion rule of a model, with defaults';

CREATE FUNCTION ltv.change_settings(caller regrole, model text, changes jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ltv.lock_model(caller, model);
    UPDATE ltv.models m SET settings = jsonb_strip_nulls(m.settings || changes) WHERE m.model = change_settings.model;
$$;
COMMENT ON FUNCTION ltv.change_settings IS 'changes settings of a model; null removes one';

CREATE FUNCTION ltv.set_promotion(
    caller regrole, model text, promote text, metric text, minimum_gain float8, held_out float8
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ltv.check_model(caller, model, 'owner');
    SELECT ltv.change_settings(caller, model,
        jsonb_build_object('promotion', ltv.check_rule(jsonb_strip_nulls(jsonb_build_object(
            'promote', promote, 'metric', metric, 'minimum_gain', minimum_gain, 'held_out', held_out)))));
$$;
COMMENT ON FUNCTION ltv.set_promotion IS 'see ltv_set_promotion';

CREATE FUNCTION @extschema@.ltv_set_promotion(
    model text, promote text DEFAULT 'if_better', metric text DEFAULT 'normalized_gini',
    minimum_gain float8 DEFAULT 0, held_out float8 DEFAULT 0.2
) RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION @extschema@.ltv_set_promotion
    IS 'decides when ltv_retrain may replace the champion: never, if_better or always';

CREATE FUNCTION ltv.set_thresholds(caller regrole, model text, thresholds jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ltv.check_model(caller, model, 'owner');
    SELECT ltv.check_thresholds(thresholds, ltv.described_features(model, ltv.version_or_champion(model, NULL)));
    SELECT ltv.change_settings(caller, model, jsonb_build_object('thresholds', thresholds));
$$;
COMMENT ON FUNCTION ltv.set_thresholds IS 'see ltv_set_thresholds';

CREATE FUNCTION @extschema@.ltv_set_thresholds(model text, thresholds jsonb) RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION @extschema@.ltv_set_thresholds
    IS 'sets the thresholds that ltv_monitor uses; null restores the defaults';

-- Keeping versions -------------------------------------------------------------------------------------------------

-- All but the newest ones, the one to roll back to, and whatever an alias names or stored scores depend on.
CREATE FUNCTION ltv.drop_old_versions(caller regrole, model text) RETURNS int[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    keep int;
    dropped int[];
BEGIN
    PERFORM ltv.lock_model(caller, model);
    SELECT (m.settings ->> 'keep')::int INTO keep FROM ltv.models m WHERE m.model = drop_old_versions.model;
    IF keep IS NULL THEN
        RETURN '{}';
    END IF;
    WITH gone AS (
        DELETE FROM ltv.versions v WHERE v.model = drop_old_versions.model
            AND v.version NOT IN (SELECT k.version FROM ltv.versions k
                                  WHERE k.model = drop_old_versions.model ORDER BY k.version DESC LIMIT keep)
            AND NOT EXISTS (SELECT FROM ltv.aliases a WHERE a.model = v.model AND a.version = v.version)
            AND v.version IS DISTINCT FROM (ltv.standing_promotion(v.model, 'champion')).from_version
            AND NOT EXISTS (SELECT FROM ltv.pinned_by(v.model, v.version))
        RETURNING v.version)
    SELECT array_agg(g.version ORDER BY g.version) INTO dropped FROM gone g;
    RETURN COALESCE(dropped, '{}');
END
$$;
COMMENT ON FUNCTION ltv.drop_old_versions(regrole, text) IS 'drops the versions that a model need not keep';

CREATE FUNCTION ltv.keep_versions(caller regrole, model text, n int) RETURNS int[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM ltv.check_model(caller, model, 'owner');
    IF n < 1 THEN
        RAISE invalid_parameter_value USING MESSAGE = format('at least one version must be kept, not %s', n),
            HINT = 'Give null to keep all; ltv_drop_model drops all.';
    END IF;
    PERFORM ltv.change_settings(caller, model, jsonb_build_object('keep', n));
    RETURN ltv.drop_old_versions(caller, model);
END
$$;
COMMENT ON FUNCTION ltv.keep_versions IS 'see ltv_keep_versions';

CREATE FUNCTION @extschema@.ltv_keep_versions(model text, n int) RETURNS int[]
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION @extschema@.ltv_keep_versions
    IS 'keeps the newest n versions, now and after each training, those in use and the one to roll back to; '
       'returns the dropped ones';

-- Retraining -------------------------------------------------------------------------------------------------------

-- The recipe is the model's, so the job runs as the model's owner, whoever of those with its rights asks for it.
CREATE FUNCTION ltv.retrain(
    model text, promote text, metric text, minimum_gain float8, warm_start boolean, as_of ltv.cutoffs,
    options jsonb, version bigint
) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parent int;
    recipe jsonb;
    base jsonb;
    rule jsonb;
    owner regrole;
BEGIN
    PERFORM ltv.check_model(model, 'owner');
    parent := ltv.version_or_champion(model, version);
    SELECT COALESCE(v.recipe -> 'base', v.recipe) - '{promote,promotion,parent,warm_start,compared}'::text[], m.owner
    INTO base, owner
    FROM ltv.readable_versions v JOIN ltv.usable_models m USING (model)
    WHERE v.model = retrain.model AND v.version = parent;
    IF COALESCE(base ->> 'relation', base ->> 'query') IS NULL THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('version %s of model "%s" cannot be retrained', parent, model),
            DETAIL = 'It was imported, so there is no recipe to repeat.',
            HINT = 'Train a version with ltv_train first.';
    ELSIF jsonb_typeof(options) IS DISTINCT FROM 'object' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'options must be a JSON object',
            HINT = 'They override those of the recipe.';
    END IF;
    IF base ->> 'relation' IS NOT NULL THEN
        base := base || jsonb_build_object('relation', ltv.trained_relation(owner, base));
        base := base || jsonb_build_object('relation_followed', ltv.to_follow(base ->> 'relation'));
    END IF;
    rule := ltv.check_rule(ltv.promotion_rule(model) || jsonb_strip_nulls(jsonb_build_object(
        'promote', promote, 'metric', metric, 'minimum_gain', minimum_gain)));
    PERFORM ltv.refresh_to_newest(base, as_of);

    base := jsonb_set(base, '{options}', COALESCE(base -> 'options', '{}') || options);
    recipe := base;
    IF rule ->> 'promote' = 'if_better' THEN
        IF base ->> 'id_column' IS NULL THEN
            RAISE object_not_in_prerequisite_state USING
                MESSAGE = 'versions can be compared only where customers have an id',
                DETAIL = 'The recipe has no id_column, so no customers can be held out.',
                HINT = 'Retrain with promote => ''always'' or ''never'', or train a version with an id_column.';
        END IF;
        recipe := recipe || jsonb_build_object('relation', NULL, 'query', format(
            'SELECT * FROM (%s%s) ltv_s WHERE ltv.held_out(%I::pg_catalog.text, %s) IS NOT TRUE',
            COALESCE(base ->> 'query', 'SELECT * FROM ' || (base ->> 'relation')), E'\n',
            base ->> 'id_column', rule ->> 'held_out'));
    END IF;
    recipe := recipe || jsonb_build_object(
        'base', base, 'parent', parent, 'warm_start', COALESCE(warm_start, false), 'promotion', rule);
    -- Names in the recipe's query mean what they meant to its author.
    PERFORM ltv.run_as(owner, recipe ->> 'search_path', NULL,
        'SELECT pg_catalog.to_jsonb(true) FROM ltv.check_recipe($2)', recipe);
    RETURN ltv.queue_job(model, 'retrain', recipe, ltv.job_settings(recipe ->> 'search_path'), owner);
END
$$;
COMMENT ON FUNCTION ltv.retrain IS 'see ltv_retrain';

CREATE FUNCTION @extschema@.ltv_retrain(
    model        text,
    promote      text DEFAULT NULL,
    metric       text DEFAULT NULL,
    minimum_gain float8 DEFAULT NULL,
    warm_start   boolean DEFAULT false,
    as_of        ltv.cutoffs DEFAULT NULL,
    options      jsonb DEFAULT '{}',
    version      bigint DEFAULT NULL
) RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_retrain
    IS 'queues the training of a challenger by the recipe of the champion on today''s data; '
       'the promotion rule decides what becomes of it';

-- Deciding ---------------------------------------------------------------------------------------------------------

-- How good a version is by a metric, so that more is better: errors count
-- negatively, and a ratio by its distance from 1.
CREATE FUNCTION ltv.goodness(metric text, value float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN metric IN ('decile_mape', 'rmse', 'mae', 'log_loss') THEN -value
                WHEN metric = 'total_ratio' THEN CASE WHEN value > 0 THEN -abs(ln(value)) END ELSE value END
$$;
COMMENT ON FUNCTION ltv.goodness IS 'a metric turned so that more is better';

-- What the worker asks for, as the owner of the catalog, once a version is stored; NULL: nothing is to be measured.
CREATE FUNCTION ltv.trial_of(model text, version int, recipe jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'champion', a.version, 'metric', recipe #>> '{promotion,metric}', 'target', base ->> 'target',
        'search_path', base ->> 'search_path',
        'query', format(
            'SELECT * FROM (%s%s) ltv_s WHERE ltv.held_out(%I::pg_catalog.text, %s) AND %I IS NOT NULL',
            COALESCE(base ->> 'query', 'SELECT * FROM ' || (base ->> 'relation')),
            E'\n', base ->> 'id_column', (recipe #>> '{promotion,held_out}')::float8, base ->> 'target'))
    FROM ltv.aliases a, LATERAL (SELECT recipe -> 'base') b(base)
    WHERE a.model = $1 AND a.alias = 'champion' AND recipe #>> '{promotion,promote}' = 'if_better'
$$;
COMMENT ON FUNCTION ltv.trial_of
    IS 'how a retrained version is to be compared with the champion: metric, and the customers held out';

-- What the worker calls as the job's owner, whose query it runs. Both versions
-- score the customers held out of the retraining.
CREATE FUNCTION ltv.measure(model text, version int, trial jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN jsonb_build_object(
        'before', ltv.metric_of(model, (trial ->> 'champion')::int, trial),
        'after', ltv.metric_of(model, version, trial));
EXCEPTION WHEN OTHERS THEN
    -- The version is worth keeping even where it cannot be compared, for instance because the relation changed since.
    RETURN jsonb_build_object('error', SQLERRM, 'sqlstate', SQLSTATE);
END
$$;
COMMENT ON FUNCTION ltv.measure
    IS 'a metric of the champion and of a new version on the customers held out, or why there is none';

-- In the search_path that the recipe was written for.
CREATE FUNCTION ltv.metric_of(model text, version int, trial jsonb) RETURNS float8
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    query text := trial ->> 'query';
    aim text := trial ->> 'target';
    wanted text := trial ->> 'metric';
    found float8;
BEGIN
    PERFORM set_config('search_path', COALESCE(trial ->> 'search_path', '"$user", public'), true);
    SELECT e.value INTO found FROM ltv.metrics(model, ltv.bind_query(query), metric_of.version, aim, NULL) e
    WHERE e.metric OPERATOR(pg_catalog.=) wanted;
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    RETURN NULLIF(found, 'NaN');
END
$$;
COMMENT ON FUNCTION ltv.metric_of IS 'the metric of a trial for one version';

-- Moves the aliases by what was measured, and records the numbers.
CREATE FUNCTION ltv.judge(role regrole, model text, version int, recipe jsonb, measured jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    rule jsonb := recipe -> 'promotion';
    metric text := rule ->> 'metric';
    champion int := (SELECT a.version FROM ltv.aliases a WHERE a.model = judge.model AND a.alias = 'champion');
    before float8 := measured ->> 'before';
    after float8 := measured ->> 'after';
    wins boolean := rule ->> 'promote' = 'always';
    -- Whether the customers held out were kept from the champion's training as well.
    fresh boolean := (SELECT v.recipe #>> '{promotion,promote}' = 'if_better'
                             AND (v.recipe #>> '{promotion,held_out}')::float8 >= (rule ->> 'held_out')::float8
                      FROM ltv.versions v WHERE v.model = judge.model AND v.version = champion);
    reason text := 'retrained, promotion rule: ' || (rule ->> 'promote');
BEGIN
    IF measured ? 'error' THEN
        -- What the error says may be of data that those who may read the model may not see.
        reason := format('version %s could not be compared with version %s: SQLSTATE %s',
                         version, champion, measured ->> 'sqlstate');
    ELSIF measured IS NOT NULL THEN
        wins := COALESCE(
            ltv.goodness(metric, after) > ltv.goodness(metric, before) + (rule ->> 'minimum_gain')::float8, false);
        reason := format(
            '%s on customers held out: version %s has %s, version %s had %s%s',
            metric, version, COALESCE(round(after::numeric, 4)::text, 'none'),
            champion, COALESCE(round(before::numeric, 4)::text, 'none'),
            CASE WHEN fresh IS NOT TRUE THEN ', having been trained on them, too' END);
    END IF;
    IF wins THEN
        PERFORM ltv.move_alias(role, model, 'champion', version, reason, NULL);
        PERFORM ltv.move_alias(role, model, 'challenger', NULL, reason, NULL);
    ELSE
        PERFORM ltv.move_alias(role, model, 'challenger', version, reason, NULL);
    END IF;
    IF measured ? 'error' OR ltv.goodness(metric, after) < ltv.goodness(metric, before) THEN
        PERFORM ltv.raise_alert(model, 'training', version, NULL, NULL, reason);
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.judge IS 'lets the promotion rule decide what becomes of a retrained version';

-- Called by the worker in the transaction that stores the version, as the owner of the catalog.
CREATE FUNCTION ltv.settle_version(
    of_job bigint, model text, version int, recipe jsonb, measured jsonb, message text
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    role regrole := (SELECT j.owner FROM ltv.jobs j WHERE j.job = of_job);
BEGIN
    IF NOT EXISTS (SELECT FROM ltv.aliases a WHERE a.model = settle_version.model AND a.alias = 'champion') THEN
        PERFORM ltv.move_alias(role, model, 'champion', version, 'first version', NULL);
    ELSIF jsonb_typeof(recipe -> 'promotion') = 'object' THEN
        PERFORM ltv.judge(role, model, version, recipe, measured);
    ELSIF recipe -> 'promote' = 'true' THEN
        PERFORM ltv.move_alias(role, model, 'champion', version, format('asked for by job %s', of_job), NULL);
    END IF;
    PERFORM ltv.drop_old_versions(role, model);
    PERFORM ltv.finish_job(of_job, 'succeeded', version, NULL, NULLIF(concat_ws('; ', message,
        'it could not be compared with the champion: ' || (measured ->> 'error')), ''), NULL, NULL);
END
$$;
COMMENT ON FUNCTION ltv.settle_version
    IS 'gives a new version its place, champion, challenger or none, and ends the job';

-- However it ended: with an error, or with its worker gone. What the error said is for the owner of the job.
CREATE FUNCTION ltv.alert_retraining() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM ltv.raise_alert(new.model, 'training', NULL, NULL, NULL,
        format('job %s %s with SQLSTATE %s', new.job, CASE new.status WHEN 'lost' THEN 'was lost' ELSE 'failed' END,
               new.sqlstate));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION ltv.alert_retraining IS 'raises an alert over a retraining that failed';
CREATE TRIGGER alert_retraining AFTER UPDATE OF status ON ltv.jobs FOR EACH ROW
WHEN (new.kind = 'retrain' AND new.status IN ('failed', 'lost') AND old.status NOT IN ('failed', 'lost'))
EXECUTE FUNCTION ltv.alert_retraining();

REVOKE ALL ON FUNCTION ltv.trial_of, ltv.judge, ltv.settle_version FROM PUBLIC;
