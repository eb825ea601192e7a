//! Databases that are not in UTF-8: names and categories with letters beyond ASCII go through everything.

use anyhow::{Context, Result, bail};
use postgres::Client;

use super::ensure_eq;
use crate::workspace::Workspace;

/// A database of an encoding, and letters that it has, as SQL expressions of type text.
struct Letters {
    encoding: &'static str,
    /// Names of the model, the relation, the id, the number and the category.
    names: [&'static str; 5],
    categories: [&'static str; 2],
}

const ENCODINGS: [Letters; 5] = [
    Letters {
        encoding: "UTF8",
        names: ["'für'", "'Käufer'", "'Schlüssel'", "'Größe'", "'Farbe ü'"],
        categories: ["'grün'", "'weiß'"],
    },
    Letters {
        encoding: "LATIN1",
        names: ["'für'", "'Käufer'", "'Schlüssel'", "'Größe'", "'Farbe ü'"],
        categories: ["'grün'", "'weiß'"],
    },
    Letters {
        encoding: "EUC_JP",
        names: ["'顧客価値'", "'購入者'", "'番号'", "'回数'", "'色'"],
        categories: ["'緑'", "'白'"],
    },
    Letters {
        encoding: "SQL_ASCII",
        names: ["'für'", "'Käufer'", "'Schlüssel'", "'Größe'", "'Farbe ü'"],
        categories: ["'grün'", "'weiß'"],
    },
    // Bytes that are no UTF-8: who has such a database has them in an encoding that PostgreSQL knows nothing of.
    Letters {
        encoding: "SQL_ASCII",
        names: [
            "E'f\\xfcr'",
            "E'K\\xe4ufer'",
            "E'Schl\\xfcssel'",
            "E'Gr\\xf6\\xdfe'",
            "E'Farbe \\xfc'",
        ],
        categories: ["E'gr\\xfcn'", "E'wei\\xdf \\xee\\xbe\\x80'"],
    },
];

pub fn databases(workspace: &Workspace) -> Result<()> {
    for (number, letters) in ENCODINGS.iter().enumerate() {
        let database = format!("letters_{number}");
        workspace
            .cluster
            .create_encoded_database(&database, letters.encoding)?;
        let mut client = workspace.cluster.connect(&database)?;
        goes_through_everything(&mut client, letters)
            .with_context(|| format!("{} ({})", letters.encoding, letters.names[0]))?;
        drop(client);
        workspace.cluster.drop_database(&database)?;
    }
    refused(workspace)
}

/// There is no conversion between this encoding and UTF-8.
fn refused(workspace: &Workspace) -> Result<()> {
    workspace
        .cluster
        .create_encoded_database("letters_refused", "MULE_INTERNAL")?;
    let refused = workspace
        .cluster
        .psql_output("letters_refused", "create extension pg_ltv")?;
    let said = String::from_utf8_lossy(&refused.stderr);
    for part in [
        "pg_ltv does not support databases in the encoding MULE_INTERNAL",
        "HINT:  Use a database with another encoding",
    ] {
        ensure_eq(said.contains(part), true, part)?;
    }
    let by_its_sqlstate = "do $$ begin create extension pg_ltv; raise 'installed'; exception when feature_not_supported then null; end $$";
    workspace.cluster.psql("letters_refused", by_its_sqlstate)?;
    workspace.cluster.drop_database("letters_refused")
}

/// What to do, and questions whose answer must be true: bytes that are no UTF-8 cannot be fetched.
const STEPS: [(&str, &str); 31] = [
    (
        "a job",
        r#"select ltv_train('MODEL', '"RELATION"', id_column => 'ID', options => '{"epochs": 20, "ensemble": 1}') > 0"#,
    ),
    (
        "its end",
        "select ltv_wait((select max(job) from ltv_jobs)) = 1",
    ),
    (
        "the job is named",
        "select model = 'MODEL' and status = 'succeeded' from ltv_jobs order by job desc limit 1",
    ),
    (
        "features as they are named",
        r#"select array['NUMBER', 'CATEGORY']::text[] <@ array_agg(feature) from ltv_feature_info('MODEL')"#,
    ),
    (
        "categories as they are",
        r#"select array(select jsonb_object_keys(categories) order by 1) = array(select x from unnest(array['FIRST', 'SECOND']::text[]) x order by 1)
        from ltv_feature_info('MODEL') where feature = 'CATEGORY'"#,
    ),
    (
        "categories are told apart",
        r#"select avg(ltv_predict('MODEL', r)) filter (where "CATEGORY" = 'FIRST') > 2 * avg(ltv_predict('MODEL', r)) filter (where "CATEGORY" = 'SECOND') from "RELATION" r"#,
    ),
    (
        "one row and many",
        r#"select bool_and(pg_temp.alike(ltv_predict('MODEL', r), case when "NUMBER" >= 0 then (select ltv_predict('MODEL', r) offset 0) end)) from "RELATION" r"#,
    ),
    (
        "other columns, in another order",
        r#"select bool_and(pg_temp.alike(ltv_predict('MODEL', r), ltv_predict('MODEL', row(s.*)::pg_temp.turned)))
        from "RELATION" r join lateral (select "CATEGORY", numbers, "NUMBER") s on true"#,
    ),
    (
        "JSON by key",
        r#"select bool_and(pg_temp.alike(ltv_predict('MODEL', r), ltv_predict('MODEL', to_jsonb(r)))) from "RELATION" r"#,
    ),
    (
        "arrays by position",
        r#"select bool_and(pg_temp.alike(ltv_predict('MODEL', r), ltv_predict('MODEL', array["NUMBER"::text, "CATEGORY", numbers[1]::text, numbers[2]::text]))) from "RELATION" r"#,
    ),
    (
        "a setting",
        "select set_config('ltv.default_model', 'MODEL', false) = 'MODEL'",
    ),
    (
        "the default model",
        r#"select bool_and(pg_temp.alike(ltv_predict(r), ltv_predict('MODEL', r))) from "RELATION" r"#,
    ),
    (
        "the plan names the model",
        r#"select position('Model: MODEL' in pg_temp.plan('select ltv_predict(''MODEL'', r) from "RELATION" r')) > 0"#,
    ),
    (
        "an unknown model is named",
        r#"select pg_temp.message('select ltv_predict(''MODELx'', r) from "RELATION" r') = 'model "MODELx" does not exist'"#,
    ),
    (
        "a missing column is named",
        r#"select pg_temp.message('select ltv_predict(''MODEL'', r) from (select numbers, "NUMBER" from "RELATION") r') = 'the input lacks column "CATEGORY" of model "MODEL"'"#,
    ),
    (
        "nothing drifted",
        r#"select not bool_or(drifted) from ltv_validate_data_skew('MODEL', '"RELATION"')"#,
    ),
    ("no alarm", "select ltv_monitor('MODEL') = 0"),
    (
        "what drifts is named",
        r#"select bool_or(drifted and feature = 'CATEGORY' and new_categories = array['FIRSTSECOND']) from ltv_validate_data_skew('MODEL', 'select "NUMBER", numbers, ''FIRSTSECOND''::text as "CATEGORY" from "RELATION"')"#,
    ),
    (
        "evaluation",
        r#"select count(*) > 5 from ltv_evaluate('MODEL', '"RELATION"')"#,
    ),
    (
        "explanation",
        r#"select bool_or(feature = 'CATEGORY' and value = 'FIRST') from ltv_explain_predict('MODEL', '"RELATION"', id_column => 'ID')"#,
    ),
    (
        "report",
        "select position('MODEL' in r) > 0 and position('CATEGORY' in r) > 0 from ltv_report('MODEL') r",
    ),
    (
        "segments",
        r#"select sum(customers) = 600 from ltv_segment_summary('MODEL', '"RELATION"', id_column => 'ID')"#,
    ),
    (
        "export and import",
        "select ltv_import_onnx('MODEL 2', ltv_export_onnx('MODEL')) + ltv_import_onnx('MODEL 2', ltv_export_onnx('MODEL')) = 3",
    ),
    (
        "the same again",
        r#"select bool_and(pg_temp.alike(ltv_predict('MODEL', r), ltv_predict('MODEL 2', r))) from "RELATION" r"#,
    ),
    (
        "a challenger",
        "select count(*) = 1 from (select ltv_set_alias('MODEL 2', 2, 'challenger')) s",
    ),
    (
        "its traffic",
        "select count(*) = 1 from (select ltv_set_traffic('MODEL 2', 0.5, 'ID')) s",
    ),
    (
        "customers by column and by key",
        r#"select bool_and(((ltv_predict_all('MODEL 2', r)).version = 2) = (ltv.customer_fraction('traffic:', "ID") < 0.5)
        and ((ltv_predict_all('MODEL 2', to_jsonb(r))).version = 2) = (ltv.customer_fraction('traffic:', "ID") < 0.5)) from "RELATION" r"#,
    ),
    (
        "the models that are ready",
        "select bool_or(model = 'MODEL') from ltv_loaded_models",
    ),
    (
        "a job that will fail",
        r#"select ltv_train('MODEL 3', 'select "ID", "NUMBER", ltv + "CATEGORY"::float8 as ltv from "RELATION"', id_column => 'ID') > 0"#,
    ),
    (
        "fails",
        "select pg_temp.message(format('select ltv_wait(%s)', max(job))) like 'invalid input syntax%' from ltv_jobs",
    ),
    (
        "says why",
        r#"select status = 'failed' and message in (select format('invalid input syntax for type double precision: "%s"', c) from unnest(array['FIRST', 'SECOND']::text[]) c)
        from ltv_jobs order by job desc limit 1"#,
    ),
];

/// Names are put into statements by the server, which has them in its encoding.
fn helpers(letters: &Letters) -> String {
    let places = [
        "MODEL", "RELATION", "ID", "NUMBER", "CATEGORY", "FIRST", "SECOND",
    ];
    let expressions = letters.names.iter().chain(&letters.categories);
    let filled = places
        .iter()
        .zip(expressions)
        .fold("statement".to_owned(), |text, (place, expression)| {
            format!("replace({text}, '{place}', {expression})")
        });
    format!(
        "create extension pg_ltv;
         set client_min_messages = warning;
         create function pg_temp.filled(statement text) returns text language sql as $f$ select {filled} $f$;
         create function pg_temp.holds(statement text) returns boolean language plpgsql as
             $f$ declare found boolean; begin execute pg_temp.filled(statement) into found; return found; end $f$;
         create function pg_temp.run(statement text) returns void language plpgsql as
             $f$ begin execute pg_temp.filled(statement); end $f$;
         create function pg_temp.message(statement text) returns text language plpgsql as
             $f$ begin execute statement; return null; exception when others then return sqlerrm; end $f$;
         create function pg_temp.plan(statement text) returns text language plpgsql as
             $f$ declare line text; plan text := ''; begin for line in execute 'explain ' || statement loop plan := plan || line || E'\n'; end loop; return plan; end $f$;
         create function pg_temp.alike(a float8, b float8) returns boolean language sql as $f$ select abs(a - b) <= 1e-4 * a $f$;"
    )
}

fn goes_through_everything(client: &mut Client, letters: &Letters) -> Result<()> {
    client.batch_execute(&helpers(letters))?;
    for statement in [
        r#"create table "RELATION" as select 'FIRST' || i as "ID", i % 17 as "NUMBER", case when i % 2 = 0 then 'FIRST' else 'SECOND' end as "CATEGORY",
            array[i % 5, 1]::real[] as numbers, case when i % 2 = 0 then 300 + i % 17 else 20 + i % 3 end::float8 as ltv from generate_series(1, 600) i"#,
        r#"create type pg_temp.turned as ("CATEGORY" text, numbers real[], "NUMBER" int)"#,
    ] {
        client.execute("select pg_temp.run($1)", &[&statement])?;
    }
    let mut wrong = Vec::new();
    for (what, statement) in STEPS {
        match client.query_one("select pg_temp.holds($1)", &[&statement]) {
            Ok(row) if row.get::<_, Option<bool>>(0) == Some(true) => {}
            Ok(_) => wrong.push(format!("{what}: {statement}")),
            Err(error) => wrong.push(format!("{what}: {:?}", error.as_db_error())),
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    // In plain SQL; where a text is no UTF-8 there is nothing to compare with.
    if !letters.names[0].starts_with('E') {
        let fractions = r#"select bool_and(ltv.customer_fraction('traffic:', "ID") =
            ('x' || left(encode(sha256(convert_to('traffic:' || "ID", 'UTF8')), 'hex'), 8))::bit(32)::bigint / 4294967296.0::float8) from "RELATION""#;
        let row = client.query_one("select pg_temp.holds($1)", &[&fractions])?;
        ensure_eq(row.get(0), Some(true), "the hash of customers")?;
    }
    Ok(())
}
