-- ltv_export_audience: the platforms' published examples, what is hashed already, what cannot be used, who came and left; nothing of it is kept.
\set ECHO none
\i tests/onnx/graphs.sql
\set ECHO all
\set SHOW_CONTEXT never
-- Published by Meta ("Customer information parameters"): input and SHA-256.
SELECT what, made = published AS as_published FROM (VALUES
    ('e-mail', ltv.audience_email('John_Smith@gmail.com', 'meta'), '62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f'),
    ('phone', ltv.audience_phone('(650)555-1212', 'meta', '1'), 'e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176'),
    ('name', ltv.audience_name('Mary', 'meta'), '6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec'),
    ('name in Hangul', ltv.audience_name('정', 'meta'), '8fa8cd9c440be61d0151429310034083132b35975c4bea67fdd74158eb51db14'),
    ('name with an accent', ltv.audience_name('Valéry', 'meta'), '08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c'),
    ('country', ltv.audience_country('US', 'meta'), '79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621')) v(what, made, published);
-- Published by Google: numbers of its template and of its guide in E.164, hashed with the plus; country and postal code as they are.
SELECT phone, calling_code, '+' || ltv.international_phone(phone, calling_code) AS e164,
       ltv.audience_phone(phone, 'google', calling_code) = encode(sha256(convert_to('+' || ltv.international_phone(phone, calling_code), 'UTF8')), 'hex') AS hashed
FROM (VALUES ('1-800-888-8888', '1'), ('18008888899', '1'), ('1(800)888-8888', '1'), ('+12125650000', NULL), ('+44 (0)20 7031 3000', NULL), ('+442070313000', '49'), ('0044 20 7031 3000', '49'), ('030 / 901820', '49'), ('06 6982', '39'),
    ('030 / 901820', NULL), ('call me', '49'), ('', '49'), (NULL, '49'), ('+1', NULL), ('12345678901234567890', '1')) v(phone, calling_code);
SELECT ltv.audience_country(' us ', 'google') AS country, ltv.audience_zip(' WC2H 8LG ', 'gb', 'google') AS zip, ltv.audience_zip('94303-5300', 'us', 'meta') = encode(sha256('94303'), 'hex') AS us, ltv.audience_zip('WC2H 8LG', 'GB', 'meta') = encode(sha256('wc2h8'), 'hex') AS gb,
       ltv.audience_zip('D-10 117', 'de', 'meta') = encode(sha256('d10117'), 'hex') AS de, ltv.audience_name(' Mary  Ann ', 'google') = encode(sha256('mary ann'), 'hex') AS name, ltv.audience_name('O''Neil', 'meta') = encode(sha256('oneil'), 'hex') AS no_punctuation,
       ltv.audience_country('Germany', 'meta') IS NULL AS no_code, ltv.hashed_email('no address') IS NULL AS no_address, ltv.hashed_email('  A@b.C ') = ltv.hashed_email('a@b.c') AS email;

SELECT ltv_import_onnx('m', decode(:'same', 'base64'));
CREATE TABLE shop AS SELECT i AS customer_id, CASE i WHEN 3 THEN 0 ELSE 10.0 * i END AS x, true AS consent FROM generate_series(1, 10) i;
SELECT step, customers FROM ltv_create_campaign('c', 'm', 'shop', hold_out => 0, eligible => 'consent', shares => '{0.5,0.5}') WHERE step = 'contact';
UPDATE c SET arm = 'hold_out', drawn_arm = 'hold_out' WHERE customer_id = 10;
CREATE TABLE contacts (id text, email text, phone text, first_name text, last_name text, country text, zip text);
INSERT INTO contacts VALUES ('1', 'One@Example.com', '+49 30 901820', 'Åsa', 'Öz', 'DE', '10117'), ('2', encode(sha256('two@example.com'), 'hex'), NULL, NULL, NULL, NULL, NULL), ('3', upper(encode(sha256('three@example.com'), 'hex')), '', '', '', '', ''),
    ('4', md5('four@example.com'), '030 901820', 'D', NULL, 'Germany', NULL), ('5', 'five at example.com', NULL, 'E', 'F', 'AT', '1010'), ('6', 'six@example.com', NULL, NULL, NULL, NULL, NULL), ('6', 'second@example.com', NULL, NULL, NULL, NULL, NULL), ('10', 'held.out@example.com', NULL, NULL, NULL, NULL, NULL), ('99', 'stranger@example.com', NULL, NULL, NULL, NULL, NULL);
SELECT customer_id, left(email, 6) AS email, email = encode(sha256('one@example.com'), 'hex') AS one, left(phone, 6) AS phone, left(first_name, 6) AS first, left(last_name, 6) AS last, country, zip, value, tier, change FROM ltv_export_audience('c', 'google', 'contacts', id_column => 'id') ORDER BY customer_id::int, email;
SELECT customer_id, left(email, 6) AS email, left(phone, 6) AS phone, left(country, 6) AS country, left(zip, 6) AS zip, value FROM ltv_export_audience('c', 'meta_lookalike', 'contacts', id_column => 'id', calling_code => '49') ORDER BY customer_id::int, email;
SET client_min_messages = warning;
SELECT * FROM ltv_export_audience('c', 'plain', 'SELECT id AS customer_id, email FROM contacts') ORDER BY customer_id::int, email;
SELECT customer_id, value, tier FROM ltv_export_audience('c', 'plain', arm => 'hold_out');
-- The header that a platform wants, in a file.
COPY (SELECT email AS "Email", phone AS "Phone", first_name AS "First Name", last_name AS "Last Name", country AS "Country", zip AS "Zip" FROM ltv_export_audience('c', 'google', 'SELECT * FROM contacts WHERE id = ''5''', id_column => 'id')) TO STDOUT (FORMAT csv, HEADER);
-- Since the list was made last: who came, who left, who changed tier.
UPDATE shop SET consent = false WHERE customer_id = 2;
UPDATE shop SET x = 500 WHERE customer_id = 1;
INSERT INTO shop VALUES (11, 700, true);
SELECT step, customers FROM ltv_refresh_campaign('c') WHERE step IN ('entered', 'left', 'changed_tier');
SELECT customer_id, value, tier, change FROM ltv_export_audience('c', 'plain', changes => true) ORDER BY customer_id::int;
SELECT count(*) FROM ltv_export_audience('c', 'plain');
-- Nothing of the contacts is in any table of ours.
SELECT count(*) FROM ltv.campaigns c WHERE c::text LIKE '%@%' OR c::text LIKE '%example%';
-- Words for what cannot be.
SELECT ltv_export_audience('c', 'tiktok', 'contacts');
SELECT ltv_export_audience('c', NULL, 'contacts');
SELECT ltv_export_audience('c', 'google');
SELECT ltv_export_audience('c', 'google', 'contacts');
SELECT ltv_export_audience('c', 'google', 'shop');
SELECT ltv_export_audience('c', 'google', 'SELECT customer_id, ''DE'' AS country FROM shop');
SELECT ltv_export_audience('c', 'google', 'contacts', id_column => 'id', calling_code => '+49');
SELECT ltv_export_audience('c', 'google', 'contacts', id_column => 'id', arm => 'both');
SELECT ltv_export_audience('c', 'google', 'SELECT true AS customer_id, '''' AS email');
SELECT ltv_export_audience('shop', 'plain');
