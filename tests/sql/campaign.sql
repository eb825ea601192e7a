-- Campaigns: the list against a walk through the customers in plpgsql, what each argument takes away, refreshing, words for bad input, and whose a campaign is.
SET client_min_messages = notice;
\set ECHO none
\i tests/onnx/graphs.sql
\set ECHO all
\set SHOW_CONTEXT never
-- A model that predicts x, whatever it is.
SELECT ltv_import_onnx('m', decode(:'same', 'base64'));
CREATE TABLE shop AS SELECT i AS customer_id, (i * 7919 % 1000 + 1)::float8 AS x, i % 2 = 0 AS newsletter, (ARRAY['DE', 'AT', 'CH'])[i % 3 + 1] AS country, format(' User%s@Example.com', i) AS email
FROM generate_series(1, 1000) i;
INSERT INTO shop VALUES (NULL, 5, true, 'DE', 'nobody@example.com'), (1001, NULL, true, 'DE', 'missing@example.com');
CREATE TABLE complaints AS SELECT i AS customer_id FROM generate_series(10, 1000, 10) i;
CREATE TABLE unsubscribed AS SELECT encode(sha256(convert_to(format('user%s@example.com', i), 'UTF8')), 'hex') AS email FROM generate_series(16, 1000, 16) i;
SELECT * FROM ltv_create_campaign('spring', 'm', 'shop', hold_out => 0.2, budget => 120, cost_per_contact => 0.8, margin => 0.25, eligible => 'newsletter AND country IN (''DE'', ''AT'')',
    suppress => '{complaints,unsubscribed,SELECT 4 AS customer_id}', email_column => 'email', start => '2024-03-01');
\d spring
SELECT campaign, owner = current_user::regrole AS mine, model, start, hold_out, budget, cost_per_contact, margin, eligible, cooldown FROM ltv_campaigns;

-- The same by a walk: who may be a member, best first; the smallest hashes of each tier are held out; until the money is spent.
CREATE FUNCTION walk(share float8, contacts int) RETURNS TABLE (customer_id int, rank bigint, tier int, arm text) LANGUAGE plpgsql AS $$
DECLARE
    customer record;
    spent int := 0;
BEGIN
    FOR customer IN
        WITH sizes AS (SELECT count(*) AS n FROM shop s WHERE s.x IS NOT NULL AND s.customer_id IS NOT NULL),
        ranked AS (SELECT s.*, 1 + (SELECT count(*) FROM shop o WHERE o.x > s.x AND o.customer_id IS NOT NULL) AS place FROM shop s WHERE s.x IS NOT NULL AND s.customer_id IS NOT NULL),
        tiered AS (SELECT r.*, CASE WHEN place <= 0.01 * n THEN 1 WHEN place <= 0.1 * n THEN 2 WHEN place <= 0.3 * n THEN 3 WHEN place <= 0.6 * n THEN 4 ELSE 5 END AS best FROM ranked r, sizes),
        able AS (SELECT t.*, sha256(convert_to('campaign:spring' || t.customer_id, 'UTF8')) AS hash FROM tiered t
                 WHERE t.newsletter AND t.country IN ('DE', 'AT') AND t.customer_id % 10 <> 0 AND t.customer_id % 16 <> 0 AND t.customer_id <> 4 AND 0.25 * t.x >= 0.8)
        SELECT a.*, (SELECT count(*) FROM able b WHERE b.best = a.best AND b.hash <= a.hash) AS turn, (SELECT count(*) FROM able b WHERE b.best = a.best) AS size FROM able a ORDER BY a.place
    LOOP
        customer_id := customer.customer_id;
        rank := customer.place;
        tier := customer.best;
        arm := CASE WHEN customer.turn <= round(share * customer.size) THEN 'hold_out' ELSE 'contact' END;
        EXIT WHEN spent = contacts;
        spent := spent + (arm = 'contact')::int;
        RETURN NEXT;
    END LOOP;
END
$$;
CREATE TABLE walked AS SELECT * FROM walk(0.2, 150);
SELECT count(*) AS members, count(*) FILTER (WHERE arm = 'contact') AS contacts FROM walked;
SELECT count(*) AS different FROM walked w FULL JOIN spring s USING (customer_id) WHERE (w.rank, w.tier, w.arm) IS DISTINCT FROM (s.rank, s.tier, s.arm);
SELECT bool_and(s.ltv = c.x AND s.drawn_ltv = s.ltv AND s.drawn_tier = s.tier AND s.drawn_arm = s.arm AND s.since = '2024-03-01' AND s.change = 'entered' AND s.left_at IS NULL AND s.previous_tier IS NULL) AS as_drawn
FROM spring s JOIN shop c USING (customer_id);
-- Where the budget ends, both arms end; a tier without a cut has its share.
SELECT tier, count(*), count(*) FILTER (WHERE arm = 'hold_out') AS held_out, max(rank) AS last FROM spring GROUP BY tier ORDER BY tier;

-- The same draw makes the same list; another one holds others out.
SET client_min_messages = warning;
SELECT customers FROM ltv_create_campaign('again', 'm', 'shop', hold_out => 0.3, draw => 'one', start => '2024-03-01') WHERE step = 'hold_out';
SELECT customers FROM ltv_create_campaign('twin', 'm', 'SELECT * FROM shop ORDER BY random()', hold_out => 0.3, draw => 'one', start => '2024-03-01') WHERE step = 'hold_out';
SELECT customers FROM ltv_create_campaign('other', 'm', 'shop', hold_out => 0.3, draw => 'two', start => '2024-03-01') WHERE step = 'hold_out';
SELECT count(*) AS different FROM again a FULL JOIN twin t USING (customer_id) WHERE a.arm IS DISTINCT FROM t.arm;
SELECT count(*) BETWEEN 60 AND 120 AS by_chance FROM again a JOIN other o USING (customer_id) WHERE a.arm = 'hold_out' AND o.arm = 'hold_out';
SET client_min_messages = notice;

-- A column as the condition, ids as texts under a name of their own, thresholds in place of shares.
CREATE TABLE users AS SELECT 'k' || customer_id AS "Kunde", x, newsletter AS "Said yes", email FROM shop WHERE customer_id <= 200;
SELECT step, customers FROM ltv_create_campaign('"Frühling"', 'm', 'users', id_column => 'Kunde', eligible => 'Said yes', thresholds => '{900,500}', hold_out => 0.5, start => '2024-03-01');
SELECT tier, count(*), min(ltv), max(ltv), count(*) FILTER (WHERE arm = 'hold_out') AS held_out, pg_typeof(min("Kunde")) FROM "Frühling" GROUP BY tier ORDER BY tier;

-- Rest: nobody whom a campaign that one may read contacts within so many days, before or after.
SELECT step, customers, left_out FROM ltv_create_campaign('april', 'm', 'shop', hold_out => 0.1, cooldown => 30, start => '2024-03-31', eligible => 'customer_id % 2 = 0') WHERE step IN ('not_suppressed', 'rested');
SELECT (SELECT count(*) FROM spring WHERE arm = 'contact') AS contacted_in_march, (SELECT count(DISTINCT customer_id) FROM (SELECT customer_id FROM spring UNION ALL SELECT customer_id FROM again UNION ALL SELECT customer_id FROM twin
    UNION ALL SELECT customer_id FROM other) x) AS in_any, count(*) FILTER (WHERE customer_id IN (SELECT customer_id FROM spring WHERE arm = 'contact')) AS too_soon FROM april;
DROP TABLE again, twin, other, april;
SELECT step, customers, left_out FROM ltv_create_campaign('april', 'm', 'shop', hold_out => 0.1, cooldown => 30, start => '2024-03-30', eligible => 'customer_id % 2 = 0') WHERE step IN ('not_suppressed', 'rested');
SELECT step, customers, left_out FROM ltv_create_campaign('may', 'm', 'shop', hold_out => 0.1, cooldown => 30, start => '2024-04-29', eligible => 'customer_id % 2 = 0') WHERE step IN ('not_suppressed', 'rested');
DROP TABLE april, may;
SELECT count(*) FROM ltv_campaigns;

-- Refreshing. Some lose their consent, some gain value, new ones come.
CREATE TABLE before AS TABLE spring;
UPDATE shop SET newsletter = false WHERE customer_id IN (SELECT customer_id FROM spring WHERE arm = 'contact' ORDER BY rank LIMIT 3);
UPDATE shop SET x = 2000 WHERE customer_id IN (SELECT customer_id FROM spring WHERE tier = 4 ORDER BY rank LIMIT 2);
INSERT INTO shop SELECT i, 1500, true, 'DE', format('user%s@example.com', i) FROM generate_series(2001, 2100) i WHERE i % 10 <> 0 AND i % 16 <> 0;
SELECT * FROM ltv_refresh_campaign('spring');
SELECT change, count(*), count(arm) AS with_arm, count(rank) AS ranked, count(left_at) AS with_left_at, bool_and(since > '2024-03-01') AS later FROM spring GROUP BY change ORDER BY change;
SELECT count(*) AS redrawn FROM spring s JOIN before b USING (customer_id) WHERE (s.drawn_arm, s.drawn_tier, s.drawn_ltv, s.since) IS DISTINCT FROM (b.drawn_arm, b.drawn_tier, b.drawn_ltv, b.since);
SELECT count(*) AS other_arms FROM spring s WHERE s.arm <> s.drawn_arm;
-- Those who came are drawn by the same hash.
SELECT count(*) AS wrong FROM spring WHERE customer_id > 2000 AND (drawn_arm = 'hold_out') <> (ltv.customer_fraction('campaign:spring', customer_id::text) < 0.2);
-- Once more: nothing has changed, and who left stays away.
SELECT step, customers FROM ltv_refresh_campaign('spring') WHERE step IN ('entered', 'left', 'changed_tier');
SELECT change, count(*), count(arm) AS with_arm FROM spring GROUP BY change ORDER BY change;
-- Who comes back is who he was.
UPDATE shop SET newsletter = true WHERE customer_id % 2 = 0;
SELECT step, customers FROM ltv_refresh_campaign('spring') WHERE step IN ('entered', 'left', 'changed_tier');
SELECT count(*) AS redrawn FROM spring s JOIN before b USING (customer_id) WHERE s.drawn_arm <> b.drawn_arm OR s.arm IS NOT NULL AND s.left_at IS NOT NULL;
-- The query is a relation: it may be renamed and moved, and made again. So may the campaign.
CREATE SCHEMA crm;
ALTER TABLE shop RENAME TO clients;
ALTER TABLE clients SET SCHEMA crm;
ALTER TABLE complaints RENAME TO complained;
ALTER TABLE spring RENAME TO primavera;
SELECT step, customers FROM ltv_refresh_campaign('primavera') WHERE step IN ('query', 'entered', 'left');
ALTER TABLE crm.clients SET SCHEMA public;
ALTER TABLE clients RENAME TO shop;
CREATE TABLE kept AS TABLE complained;
DROP TABLE complained;
SELECT ltv_refresh_campaign('primavera');
ALTER TABLE kept RENAME TO complained;
SELECT step, customers FROM ltv_refresh_campaign('primavera') WHERE step IN ('query', 'entered', 'left');

-- A wanted lift in place of a share: the hold-out is what is needed for it, and it is said where it cannot be. rmse 30 about a mean of 20, as if 1,000 members were expected to spend 25 each:
-- h (1 - h) = (2.8016 / detect)^2 * 30^2 / (20 * 25) / 1000.
SELECT detect, round(h::numeric, 6) AS share, round((2.8016 ^ 2 * 900 / 500 / 1000 / detect ^ 2)::numeric, 6) = round((h * (1 - h))::numeric, 6) AS as_stated
FROM unnest('{0.3,0.5,1}'::float8[]) detect, LATERAL (SELECT ltv.hold_out_share(detect, 30, 20, 1000, NULL, 25) AS h) x;
-- With a budget for 200 of 1,000 contacts: 1 / contacts + 1 / held out is as stated.
SELECT round(h::numeric, 6) AS share, round((1 / 200.0 + 1 / (200 * h / (1 - h)))::numeric, 6) = round((0.5 ^ 2 / (2.8016 ^ 2 * 900 / 500))::numeric, 6) AS as_stated
FROM (SELECT ltv.hold_out_share(0.5, 30, 20, 1000, 200, 25) AS h) x;
SELECT ltv.hold_out_share(0.01, 30, 20, 1000, NULL, 25);
SELECT ltv.hold_out_share(0.2, 30, 20, 1000, 200, 25);
SELECT ltv.hold_out_share(0.2, 30, 20, 0, NULL, NULL);

-- Bad input, in clear words.
SELECT ltv_create_campaign('primavera', 'm', 'shop');
SELECT ltv_create_campaign(NULL, 'm', 'shop');
SELECT ltv_create_campaign('x', 'no', 'shop');
SELECT ltv_create_campaign('x', 'm', NULL);
SELECT ltv_create_campaign('x', 'm', 'shop', id_column => 'kunde');
SELECT ltv_create_campaign('x', 'm', 'shop', eligible => 'no_such');
SELECT ltv_create_campaign('x', 'm', 'shop', eligible => 'country');
SELECT ltv_create_campaign('x', 'm', 'shop', eligible => 'true, false');
SELECT ltv_create_campaign('x', 'm', 'shop', eligible => 'true) AS a FROM shop; DELETE FROM shop; --');
SELECT ltv_create_campaign('x', 'm', 'shop', suppress => '{users}');
SELECT ltv_create_campaign('x', 'm', 'shop', suppress => '{users}', email_column => 'mail');
SELECT ltv_create_campaign('x', 'm', 'shop', suppress => ARRAY[NULL]);
SELECT ltv_create_campaign('x', 'm', 'SELECT gen_random_uuid() AS customer_id, x FROM shop', suppress => '{complained,SELECT true AS customer_id}');
SELECT ltv_create_campaign('x', 'm', 'SELECT customer_id AS rank, x FROM shop', id_column => 'rank');
SELECT ltv_create_campaign('x', 'm', 'SELECT * FROM shop UNION ALL SELECT * FROM shop');
SELECT ltv_create_campaign('x', 'm', 'shop', hold_out => 1);
SELECT ltv_create_campaign('x', 'm', 'shop', hold_out => -0.1);
SELECT ltv_create_campaign('x', 'm', 'shop', hold_out => 'NaN');
SELECT ltv_create_campaign('x', 'm', 'shop', hold_out => 0.1, detect => 0.1);
SELECT ltv_create_campaign('x', 'm', 'shop', detect => 0);
SELECT ltv_create_campaign('x', 'm', 'shop', detect => 0.1);
SELECT ltv_create_campaign('x', 'm', 'shop', budget => 100);
SELECT ltv_create_campaign('x', 'm', 'shop', budget => 0.5, cost_per_contact => 1);
SELECT ltv_create_campaign('x', 'm', 'shop', cost_per_contact => -1);
SELECT ltv_create_campaign('x', 'm', 'shop', margin => 0);
SELECT ltv_create_campaign('x', 'm', 'shop', cooldown => 1.5);
SELECT ltv_create_campaign('x', 'm', 'shop', shares => '{0.5}');
SELECT ltv_create_campaign('x', 'm', 'shop', thresholds => '{1,2}');
SELECT ltv_create_campaign('x', 'm', 'shop', start => 'infinity');
SELECT ltv_create_campaign('x', 'm', 'shop', time_zone => 'Mars');
SELECT ltv_create_campaign('a.b.c', 'm', 'shop');
SELECT to_regclass('x') IS NULL AS nothing_left;
-- Nobody held out, nobody to contact, nobody at all, contacts that cost nothing.
SELECT step, customers FROM ltv_create_campaign('x', 'm', 'shop', hold_out => 0) WHERE step IN ('hold_out', 'contact');
SELECT step, customers, left_out FROM ltv_create_campaign('y', 'm', 'shop', eligible => 'false');
SELECT step, customers FROM ltv_create_campaign('z', 'm', 'SELECT * FROM shop WHERE false') WHERE step IN ('query', 'contact');
SELECT step, cost, expected_profit > 0 AS profit FROM ltv_create_campaign('free', 'm', 'shop', margin => 0.5) WHERE step = 'contact';
-- A margin of each customer: who is worth a contact, who comes first, what is earned; results take the mean of the members.
CREATE TABLE margins AS SELECT s.*, CASE customer_id % 3 WHEN 0 THEN 0.1 WHEN 1 THEN 0.5 END AS share, email AS word FROM shop s;
SELECT step, customers, round(expected_profit::numeric, 3) AS profit FROM ltv_create_campaign('varied', 'm', 'margins', cost_per_contact => 2, margin => 0.5, margin_column => 'share', budget => 200, draw => 'varied') WHERE step IN ('profitable', 'hold_out', 'contact');
WITH members AS (SELECT m.*, s.x * COALESCE(s.share, 0) * 0.5 AS worth FROM varied m JOIN margins s USING (customer_id)), r AS (SELECT m.*, lag(m.worth, 1, 'Infinity') OVER (ORDER BY m.rank) AS before FROM members m)
SELECT count(*) FILTER (WHERE r.arm = 'contact') AS contacts, bool_and(r.worth >= 2) AS profitable, bool_and(r.worth <= r.before) AS in_order, round(sum(r.worth - 2) FILTER (WHERE r.arm = 'contact')::numeric, 3) AS profit,
    abs((SELECT c.margin FROM ltv_campaigns c WHERE c.campaign = 'varied'::regclass) / (sum(r.worth) / sum(r.ltv)) - 1) < 1e-12 AS mean FROM r;
UPDATE margins SET share = 0.4;
SELECT step, customers FROM ltv_refresh_campaign('varied') WHERE step = 'profitable';
SELECT round(margin::numeric, 6) AS margin FROM ltv_campaigns WHERE campaign = 'varied'::regclass;
SELECT ltv_create_campaign('w', 'm', 'margins', margin_column => 'no');
SELECT ltv_create_campaign('w', 'm', 'margins', margin_column => 'word');
DROP TABLE x, y, z, free, varied;
SELECT ltv_refresh_campaign('shop');
SELECT ltv_refresh_campaign('no_such');
SELECT ltv_refresh_campaign(NULL);
SELECT ltv_refresh_campaign('SELECT 1');
ALTER TABLE "Frühling" DROP COLUMN since;
SELECT ltv_refresh_campaign('"Frühling"');
ALTER TABLE "Frühling" ADD COLUMN since timestamptz;
SELECT ltv_refresh_campaign('"Frühling"');
DROP TABLE "Frühling";

-- A campaign belongs to its maker: others see nothing of it, and nobody writes the catalog.
CREATE ROLE ltv_campaign_maker;
CREATE ROLE ltv_campaign_member;
CREATE ROLE ltv_campaign_reader;
GRANT ltv_campaign_maker TO ltv_campaign_member;
CREATE SCHEMA maker AUTHORIZATION ltv_campaign_maker;
GRANT USAGE ON SCHEMA maker TO PUBLIC;
GRANT SELECT ON shop TO ltv_campaign_maker, ltv_campaign_reader;
SET ROLE ltv_campaign_maker;
SELECT ltv_create_campaign('maker.secret', 'm', 'shop');
RESET ROLE;
SELECT ltv_grant('m', 'ltv_campaign_maker', 'predict'), ltv_grant('m', 'ltv_campaign_reader', 'predict');
SET ROLE ltv_campaign_maker;
SELECT step, customers FROM ltv_create_campaign('maker.secret', 'm', 'shop', hold_out => 0.1, start => '2024-03-01') WHERE step = 'contact';
SELECT campaign, owner FROM ltv_campaigns;
SELECT ltv_create_campaign('maker.computed', 'm', 'shop', detect => 0.1);
SELECT * FROM ltv.campaigns;
SELECT ltv.campaign_definition('ltv_campaign_maker'::regrole, 'maker.secret', false);
SELECT ltv.save_campaign('ltv_campaign_maker'::regrole, 'maker.secret', '{}');
SELECT ltv.other_campaigns('ltv_campaign_maker'::regrole, NULL);
SELECT ltv.save_campaign('maker.secret', '{"model": 1}');
-- No number that the view of all campaigns could not show.
SELECT ltv.save_campaign('maker.secret', ltv.campaign_definition('maker.secret') || '{"hold_out": 1e400, "budget": -1e400}');
SET ROLE ltv_campaign_reader;
SELECT count(*) FROM ltv_campaigns;
SELECT ltv_refresh_campaign('maker.secret');
SELECT ltv_campaign_result('maker.secret', 'shop', date_column => 'x', value_column => 'x');
SELECT ltv_export_audience('maker.secret', 'plain');
SELECT ltv.campaign_definition('maker.secret'), ltv.other_campaigns(NULL);
SELECT ltv.save_campaign('maker.secret', '{}');
RESET ROLE;
GRANT SELECT ON maker.secret TO ltv_campaign_reader;
SET ROLE ltv_campaign_reader;
SELECT ltv_refresh_campaign('maker.secret');
-- Members that one may read rest, too; not where that would run a function of theirs.
SELECT ltv.other_campaigns(NULL);
RESET ROLE;
ALTER TABLE maker.secret ENABLE ROW LEVEL SECURITY;
SET ROLE ltv_campaign_reader;
SELECT ltv.other_campaigns(NULL);
SET ROLE ltv_campaign_member;
SELECT step, customers FROM ltv_refresh_campaign('maker.secret') WHERE step IN ('contact', 'entered', 'left');
RESET ROLE;
-- It runs as its owner, whoever asks.
CREATE FUNCTION maker.who() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'runs as %', current_user; RETURN true; END $$;
SET ROLE ltv_campaign_maker;
SELECT step, customers FROM ltv_create_campaign('maker.who_am_i', 'm', 'SELECT * FROM public.shop ORDER BY x DESC NULLS LAST LIMIT 1', eligible => 'maker.who()', hold_out => 0.4) WHERE step = 'query';
RESET ROLE;
SELECT step, customers FROM ltv_refresh_campaign('maker.who_am_i') WHERE step = 'query';
-- As a dump that was edited by hand might have it.
UPDATE ltv.campaigns SET definition = definition || '{"bounds": "all"}' WHERE relation = 'maker.secret'::regclass;
SELECT ltv_refresh_campaign('maker.secret');
UPDATE ltv.campaigns SET definition = definition || '{"query": "SELECT 1 AS customer_id, 1 AS x) q; DROP TABLE shop; --", "query_relation": null}', customers = NULL WHERE relation = 'maker.who_am_i'::regclass;
SELECT ltv_refresh_campaign('maker.who_am_i');
-- A campaign of somebody who has left is whose the table is; a table of the same name is none.
REASSIGN OWNED BY ltv_campaign_maker TO ltv_campaign_reader;
SET ROLE ltv_campaign_reader;
SELECT campaign FROM ltv_campaigns ORDER BY 1;
RESET ROLE;
DROP TABLE maker.secret;
CREATE TABLE maker.secret AS SELECT 1 AS customer_id;
SELECT ltv_refresh_campaign('maker.secret');
DROP OWNED BY ltv_campaign_maker, ltv_campaign_member, ltv_campaign_reader CASCADE;
DROP ROLE ltv_campaign_maker, ltv_campaign_member, ltv_campaign_reader;
