-- Intervals of sums of predictions. Quantiles of customers do not add up, variances do.

CREATE TYPE ltv.spread AS (tiers float8[], dispersion float8[], level float8, tier float8);
COMMENT ON TYPE ltv.spread
    IS 'where tiers of predictions begin, the variance of a customer of each over prediction ^ 1.5, the standard '
       'deviation of the logarithm of the level of all predictions, and of that of a tier beside it';

CREATE FUNCTION ltv.spread(facts jsonb) RETURNS ltv.spread
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN jsonb_typeof(facts) = 'object'
                THEN ROW(ARRAY(SELECT t.v::float8
                               FROM jsonb_array_elements_text(facts -> 'tiers') WITH ORDINALITY AS t(v, i)
                               ORDER BY t.i),
                         ARRAY(SELECT d.v::float8
                               FROM jsonb_array_elements_text(facts -> 'dispersion') WITH ORDINALITY AS d(v, i)
                               ORDER BY d.i),
                         (facts ->> 'level')::float8, (facts ->> 'tier')::float8)::ltv.spread END
$$;
COMMENT ON FUNCTION ltv.spread IS 'what a version keeps of the error of its predictions; NULL where it keeps none';

CREATE FUNCTION ltv.variance_of(spread ltv.spread, prediction float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT spread.dispersion[1 + width_bucket(prediction, spread.tiers)] * power(GREATEST(prediction, 0), 1.5::float8)
$$;
COMMENT ON FUNCTION ltv.variance_of IS 'the variance of what a customer spends of whom so much is expected';

-- Of a lognormal law with the mean and the variance of the sum: never negative, and longer upwards, as sums of a few
-- large amounts are.
CREATE FUNCTION ltv.sum_interval(expected float8, variance float8, level float8) RETURNS float8[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN expected > 0
                THEN ARRAY[expected * exp(-1.2815515655446 * sqrt(s.squared) - s.squared / 2),
                           expected * exp(1.2815515655446 * sqrt(s.squared) - s.squared / 2)]
                WHEN expected = 0 THEN '{0,0}' END
    FROM (SELECT ln(1 + variance / NULLIF(expected, 0) ^ 2 + level ^ 2) AS squared) s
$$;
COMMENT ON FUNCTION ltv.sum_interval IS 'the low and the high end of the 80 % interval of a sum of predictions';

-- What whoever may score with a model has to know of what it predicts.
CREATE FUNCTION ltv.prediction_facts(caller regrole, model text, version bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    used bigint := version;
    facts jsonb;
BEGIN
    PERFORM ltv.check_model(caller, model, 'predict');
    IF used IS NULL THEN
        SELECT a.version INTO used FROM ltv.aliases a
        WHERE a.model = prediction_facts.model AND a.alias = 'champion';
    END IF;
    IF used IS NULL THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('model "%s" has no champion', model),
            DETAIL = 'No version was trained yet, or the alias was removed.',
            HINT = 'Wait for its training with ltv_wait, or choose a version with ltv_set_alias.';
    END IF;
    SELECT jsonb_build_object('version', v.version, 'horizon', v.statistics -> 'horizon',
                              'has_state', v.schema -> 'state' IS NOT NULL, 'spread', v.statistics -> 'spread',
                              'longest', (SELECT max(h::float8)
                                          FROM jsonb_array_elements_text(v.schema -> 'horizons') h))
    INTO facts FROM ltv.versions v WHERE v.model = prediction_facts.model AND v.version = used;
    IF facts IS NULL THEN
        RAISE undefined_object USING MESSAGE = format('version %s of model "%s" does not exist', used, model),
            HINT = 'Leave the version out to have the champion. '
                   'The view ltv_versions lists those that you may look into.';
    END IF;
    RETURN facts;
END
$$;
COMMENT ON FUNCTION ltv.prediction_facts(regrole, text, bigint) IS 'see the function without caller';

CREATE FUNCTION ltv.prediction_facts(model text, version bigint) RETURNS jsonb
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION ltv.prediction_facts(text, bigint)
    IS 'the version, its horizons in days, whether it knows the state of customers, and the error of its predictions';

-- What is spent until the horizon is taken as paid in the middle of it, as ltv_discount takes what is spent between
-- two of them.
CREATE FUNCTION ltv.discount_factor(model text, version bigint, discount_rate float8) RETURNS float8
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    facts jsonb;
BEGIN
    IF (discount_rate > -1 AND discount_rate < 'infinity') IS NOT TRUE THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the discount rate must be a number above -1',
            HINT = 'It is a share per year: 0.1 is 10 % a year.';
    ELSIF discount_rate = 0 THEN
        RETURN 1;
    END IF;
    facts := ltv.prediction_facts(model, version);
    IF ((facts ->> 'horizon')::float8 > 0) IS NOT TRUE THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('it is not known how far model "%s" looks ahead', model),
            DETAIL = format('Version %s was trained without a horizon.', facts ->> 'version'),
            HINT = 'Train it on features made by ltv_create_features, or with the option "horizon".';
    END IF;
    RETURN (1 + discount_rate) ^ (-(facts ->> 'horizon')::float8 / 730);
END
$$;
COMMENT ON FUNCTION ltv.discount_factor IS 'what money of the horizon of a version is worth today';
