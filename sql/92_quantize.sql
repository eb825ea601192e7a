-- Versions with 8-bit weights: ltv_quantize.

CREATE FUNCTION ltv.quantize_graph(
    model text, onnx bytea, schema jsonb, sample jsonb[], OUT quantized bytea, OUT report jsonb
)
LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ltv_quantize_graph';
COMMENT ON FUNCTION ltv.quantize_graph
    IS 'a graph with 8-bit weights and fixed scales, and how it compares on the sample: '
       'differences, bytes, nanoseconds per row';

-- Rows drawn column by column from the distributions at training time.
CREATE FUNCTION ltv.synthetic_rows(model text, version int, n int) RETURNS jsonb[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    made jsonb[];
BEGIN
    IF EXISTS (SELECT FROM ltv.feature_info(model, version) f
               WHERE f.quantiles IS NULL AND f.categories IS NULL AND f.missing IS DISTINCT FROM 1) THEN
        RAISE feature_not_supported USING
            MESSAGE = format('version %s of model "%s" has no statistics to draw rows from', version, model),
            DETAIL = 'Imported versions have none, and neither have arrays.',
            HINT = 'Give a relation or a query with rows like those to be scored: '
                   'ltv_quantize(model, version, ''customers'').';
    END IF;
    -- The same rows each time: random() would need setseed, which is the caller's.
    SELECT array_agg(r.made_row ORDER BY r.i) INTO made FROM (
        SELECT g.i, jsonb_object_agg(f.feature, CASE
            WHEN d.u < COALESCE(f.missing, 0) THEN NULL
            WHEN f.categories IS NOT NULL THEN to_jsonb((
                SELECT c.k FROM (SELECT k, sum(share::float8) OVER (ORDER BY share::float8 DESC, k) AS upto
                                 FROM jsonb_each_text(f.categories) AS e(k, share)) c
                WHERE c.upto >= d.v ORDER BY c.upto LIMIT 1))
            ELSE to_jsonb(f.quantiles[1 + d.at]
                          + (f.quantiles[2 + d.at] - f.quantiles[1 + d.at])
                            * (d.v * (cardinality(f.quantiles) - 1) - d.at))
            END) AS made_row
        FROM generate_series(1, n) g(i)
        CROSS JOIN ltv.feature_info(model, version) f
        CROSS JOIN LATERAL (SELECT (hashtextextended(f.feature, g.i) & 1048575) / 1048576.0::float8 AS u,
                                   ((hashtextextended(f.feature, g.i) >> 20) & 1048575) / 1048576.0::float8 AS v) h
        CROSS JOIN LATERAL (SELECT h.u, h.v, floor(h.v * GREATEST(cardinality(f.quantiles) - 1, 1))::int AS at) d
        GROUP BY g.i) r;
    RETURN made;
END
$$;
COMMENT ON FUNCTION ltv.synthetic_rows IS 'rows drawn column by column from the statistics of a version';

CREATE FUNCTION ltv.store_quantized(
    model text, version int, sample jsonb[], described text, promote boolean
) RETURNS int
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION ltv.store_quantized(text, int, jsonb[], text, boolean)
    IS 'quantizes a version of the current role and stores the result';

CREATE FUNCTION ltv.store_quantized(
    caller regrole, model text, version int, sample jsonb[], described text, promote boolean
) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    quantized bytea;
    report    jsonb;
    number    int;
BEGIN
    PERFORM ltv.check_model(caller, model, 'owner');
    PERFORM ltv.check_version(model, version);
    IF (SELECT v.metrics ? 'quantization' FROM ltv.versions v
        WHERE v.model = store_quantized.model AND v.version = store_quantized.version) THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('version %s of model "%s" is quantized already', version, model),
            HINT = 'Quantize the version that it was made from.';
    END IF;
    SELECT q.quantized, q.report INTO quantized, report
    FROM ltv.versions v, ltv.quantize_graph(v.model, v.onnx, v.schema, COALESCE(sample, '{}')) q
    WHERE v.model = store_quantized.model AND v.version = store_quantized.version;
    report := report || jsonb_build_object('version', version, 'sample', described);
    number := ltv.next_version(caller, model);
    INSERT INTO ltv.versions (
        model, version, checksum, onnx, source, objective, backbone, schema, recipe, statistics, metrics, history,
        n_rows, created_by, pg_ltv_version
    )
    SELECT v.model, number, encode(sha256(quantized), 'hex'), quantized, v.source, v.objective, v.backbone, v.schema,
           v.recipe, v.statistics, v.metrics || jsonb_build_object('quantization', report), v.history, v.n_rows, caller,
           (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'pg_ltv')
    FROM ltv.versions v WHERE v.model = store_quantized.model AND v.version = store_quantized.version;
    IF promote AND (report ->> 'speedup')::float8 > 1.1 THEN  -- less is noise
        PERFORM ltv.move_alias(caller, model, 'champion', number, 'quantized', NULL);
    ELSIF promote THEN
        RAISE NOTICE 'version % stays as it is: on this machine version % is not faster (% against % ns per row)',
            version, number,
            round((report ->> 'nanoseconds_per_row')::numeric),
            round((report ->> 'original_nanoseconds_per_row')::numeric);
    END IF;
    RETURN number;
END
$$;
COMMENT ON FUNCTION ltv.store_quantized(regrole, text, int, jsonb[], text, boolean)
    IS 'quantizes a version of the caller and stores the result';

CREATE FUNCTION ltv.quantize(model text, version bigint, query text, described text, promote boolean) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    used int;
    sample jsonb[];
BEGIN
    PERFORM ltv.check_model(model, 'owner');
    used := ltv.version_or_champion(model, version);
    IF query IS NULL THEN
        sample := ltv.synthetic_rows(model, used, 4096);
    ELSE
        EXECUTE format(
            'SELECT array_agg(to_jsonb(ltv_s)) FROM (SELECT * FROM (%s%s) ltv_q LIMIT 4096) ltv_s', query, E'\n')
        INTO sample;
    END IF;
    RETURN ltv.store_quantized(model, used, sample, COALESCE(described, 'synthetic'), promote);
END
$$;
COMMENT ON FUNCTION ltv.quantize IS 'see ltv_quantize; the query is bound';

CREATE FUNCTION ltv.quantize(model text, version bigint, query text, promote boolean)
RETURNS int
LANGUAGE sql
AS $$ SELECT ltv.quantize(model, version, ltv.bind_query(query), query, promote) $$;
COMMENT ON FUNCTION ltv.quantize(text, bigint, text, boolean) IS 'see ltv_quantize';

CREATE FUNCTION @extschema@.ltv_quantize(
    model text, version bigint DEFAULT NULL, query text DEFAULT NULL, promote boolean DEFAULT false
) RETURNS int
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_quantize
    IS 'stores a version again with 8-bit weights and returns its number; '
       'what that costs and brings, measured on a sample, stands in metrics -> quantization; '
       'promote makes it the champion if it is faster here by more than a tenth';
