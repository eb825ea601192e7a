-- For benches/drift.sql and tests/sql/drift_rates.sql: customers drawn at random, a model of them, the comparison of further draws with
-- them, and shifts to find. Features with a tail, few distinct values or gaps, categories few and many, vectors and sequences.
-- One customer per row; the arguments are what the shifts change.
CREATE FUNCTION draw(n int, mean float8 DEFAULT 0, scale float8 DEFAULT 1, gaps float8 DEFAULT 0.2, fresh float8 DEFAULT 0, season float8 DEFAULT 0)
RETURNS TABLE (customer_id int, normal1 float8, normal2 float8, normal3 float8, tail float8, counts int, uniform float8, gappy float8, month int,
               channel text, country text, member boolean, embedding real[], spend real[], ltv float8)
LANGUAGE sql VOLATILE AS $$
    SELECT i, mean + scale * sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()),
        sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()), sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()),
        exp(sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random())), floor(-ln(1 - random()) * 2)::int, random(),
        CASE WHEN random() >= gaps THEN random() END,
        -- Months come evenly, but for a share of the rows, which come before Christmas.
        CASE WHEN random() < season THEN 11 + floor(random() * 2)::int ELSE 1 + floor(random() * 12)::int END,
        CASE WHEN random() < fresh THEN 'new' ELSE 'ch' || floor(random() * random() * 5)::int END, 'country' || floor(random() * random() * 40)::int, random() < 0.3,
        ARRAY[random(), random() + random(), random() * random(), -ln(1 - random())]::real[],
        (SELECT array_agg(ARRAY[random(), s]::real[]) FROM generate_series(1, 0 * i + 1 + floor(random() * 8)::int) s),
        CASE WHEN random() < 0.5 THEN 0 ELSE 20 * random() END
    FROM generate_series(1, n) i $$;
CREATE TABLE training AS SELECT * FROM draw(:customers);
SELECT ltv_train('m', 'training', backbone => 'gru', options => '{"epochs": 1, "ensemble": 1, "seed": 1}') AS job \gset
SELECT ltv_wait(:job);

-- False alarms, and the alarms there would be with a threshold of 0. One row per comparison of a feature.
CREATE TABLE found (what text, n int, run int, feature text, kind text, psi float8, drifted boolean, drifted_at_0 boolean);
CREATE PROCEDURE redraw(what text, n int, runs int) LANGUAGE plpgsql AS $$
DECLARE
    features jsonb := ltv.described_features('m', 1);
    nothing jsonb := (SELECT jsonb_object_agg(e ->> 'name', 0) FROM jsonb_array_elements(features) f(e));
    before jsonb := ltv.training_profile(features);
    now jsonb;
BEGIN
    FOR run IN 1..runs LOOP
        now := ltv.profile(ltv.bind_query(format('SELECT * FROM draw(%s)', n)), features, 'm', 1);
        IF what = 'drift' THEN
            before := ltv.profile(ltv.bind_query(format('SELECT * FROM draw(%s)', n)), features, 'm', 1);
        END IF;
        INSERT INTO found SELECT what, n, run, d.feature, d.kind, d.psi, d.drifted, z.drifted
        FROM ltv.compare_profiles(before, now, NULL) d JOIN ltv.compare_profiles(before, now, nothing) z USING (feature);
        COMMIT;
    END LOOP;
END $$;

-- What a shift changes, and the feature that has to alarm.
CREATE TABLE shifts (shift text, arguments text, feature text);
INSERT INTO shifts VALUES
    ('mean by 0.25 sd', 'mean => 0.25', 'normal1'), ('mean by 0.5 sd', 'mean => 0.5', 'normal1'), ('mean by 1 sd', 'mean => 1', 'normal1'),
    ('scale x 1.5', 'scale => 1.5', 'normal1'), ('scale x 2', 'scale => 2', 'normal1'), ('scale x 100 (cents)', 'scale => 100', 'normal1'),
    ('missing 20 to 35 %', 'gaps => 0.35', 'gappy'), ('missing 20 to 50 %', 'gaps => 0.5', 'gappy'),
    ('new category 10 %', 'fresh => 0.1', 'channel'), ('new category 20 %', 'fresh => 0.2', 'channel'),
    ('season: 20 % more in Nov., Dec.', 'season => 0.2', 'month'), ('season: 40 % more in Nov., Dec.', 'season => 0.4', 'month');
