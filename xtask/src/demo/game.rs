//! `cargo xtask demo game`: everyone from day one. A simulated game, of whose players most never pay.

use anyhow::Result;
use postgres::Client;

use super::show::{self, Clock, Table};
use super::{exists, train};
use crate::project::Project;
use crate::server;

const PLAYERS: &str = include_str!("game.sql");

const FEATURES: &str = "select ltv_create_features('game.day_7', 'game.payments', 'player_id', 'paid_on', 'amount',
           customers => 'game.players', start_column => 'registered', age => '{7}', horizon => 60,
           windows => '{3,7}', log_end => '2024-06-30',
           events => '{\"sessions\": {\"source\": \"game.sessions\", \"date_column\": \"started_at\",
                                    \"type_column\": \"screen\", \"value_columns\": [\"minutes\"]}}')";

const TRAIN: &str =
    "select ltv_train('game', query => 'select * from game.day_7 where player_id % 5 <> 0',
           id_column => 'player_id', options => '{\"ensemble\": 1}')";

/// What a model knows that sees payments and the channel, but not what players do.
const TRAIN_BLIND: &str = "select ltv_train('game_blind', query => 'select * from game.day_7 where player_id % 5 <> 0', id_column => 'player_id', options => '{\"ensemble\": 1}',
           features => (select array_agg(column_name::text order by ordinal_position) from information_schema.columns
                        where table_schema = 'game' and table_name = 'day_7' and column_name !~ '^(sessions|ltv|as_of|player_id)'))";

const SCORE: &str = "select player_id, ltv_predict('game', d) as ltv
    from game.day_7 d where player_id % 5 = 0 order by ltv desc limit 10";

const NIGHTLY: &str = "select ltv_refresh_features('game.day_7')";

pub fn run(project: &Project, options: &server::Options) -> Result<()> {
    let cluster = server::start(project, options)?;
    let mut client = cluster.connect(server::DATABASE)?;
    let mut clock = Clock::default();

    println!("\nWho will pay? Day 7 of 20,000 players, of whom one in twenty ever does");
    let players = clock.time("simulate the game", || players(&mut client))?;
    show::step(1, "Players, sessions, payments", None, &players);

    let features = clock.time("build the features", || features(&mut client))?;
    show::step(
        2,
        "What was known of each player 7 days after the registration, and what they paid in the 60 days after",
        Some(FEATURES),
        &features,
    );

    let model = clock.time("train the model", || {
        train::train(&mut client, "game", TRAIN)
    })?;
    show::step(
        3,
        "A model, on four fifths of the players",
        Some(TRAIN),
        &model,
    );

    let best = clock.time("score the others", || best(&mut client))?;
    show::step(4, "The best ten of the other players", Some(SCORE), "");
    println!("{best}");

    clock.time("train without the sessions", || {
        train::train(&mut client, "game_blind", TRAIN_BLIND)
    })?;
    show::step(
        5,
        "What it is worth to see what players do, judged by those that no model has seen",
        None,
        "",
    );
    println!("{}", metrics(&mut client)?);

    let added = clock.time("the next night", || night(&mut client))?;
    show::step(
        6,
        "The next night: who has turned 7 days old is added",
        Some(NIGHTLY),
        &added,
    );

    println!("\nTime\n\n{}", clock.table());
    Ok(())
}

fn players(client: &mut Client) -> Result<String> {
    if !exists(client, "game.payments")? {
        let mut transaction = client.transaction()?;
        transaction.batch_execute(PLAYERS)?;
        transaction.commit()?;
    }
    let row = client.query_one(
        "select (select count(*) from game.players), (select count(*) from game.sessions), count(distinct player_id),
                count(distinct player_id) filter (where paid_on - registered <= 7)
         from game.payments join game.players using (player_id)",
        &[],
    )?;
    Ok(format!(
        "{} players with {} sessions; {} ever pay, {} of them in the first week.",
        show::count(row.get(0)),
        show::count(row.get(1)),
        show::count(row.get(2)),
        show::count(row.get(3))
    ))
}

fn features(client: &mut Client) -> Result<String> {
    if !exists(client, "game.day_7")? {
        client.batch_execute(FEATURES)?;
    }
    let row = client.query_one(
        "select count(*), count(*) filter (where purchases > 0), count(*) filter (where ltv > 0),
                (select count(*) from pg_attribute where attrelid = 'game.day_7'::regclass and attnum > 0)
         from game.day_7",
        &[],
    )?;
    Ok(format!(
        "{} players, of whom {} have paid by then and {} pay later; {} columns: table game.day_7.",
        show::count(row.get(0)),
        show::count(row.get(1)),
        show::count(row.get(2)),
        row.get::<_, i64>(3)
    ))
}

fn best(client: &mut Client) -> Result<String> {
    let rows = client.query(
        &format!(
            "select s.player_id, s.ltv, d.purchases, d.sessions_count, d.sessions_minutes::float8 as minutes, d.sessions_shop_count, d.ltv as came
             from ({SCORE}) s join game.day_7 d using (player_id) order by s.ltv desc"
        ),
        &[],
    )?;
    let mut table = Table::new(&[
        "player",
        "payments",
        "sessions",
        "minutes",
        "in the shop",
        "will pay",
        "did pay",
    ]);
    for row in rows {
        let number = |name: &str| show::count(i64::from(row.get::<_, i32>(name)));
        table.row(vec![
            row.get::<_, i32>("player_id").to_string(),
            number("purchases"),
            number("sessions_count"),
            show::count(row.get::<_, f64>("minutes") as i64),
            number("sessions_shop_count"),
            show::money(row.get("ltv")),
            show::money(row.get("came")),
        ]);
    }
    Ok(table.to_string())
}

const METRICS: [(&str, &str); 3] = [
    ("normalized_gini", "normalized Gini"),
    ("auc", "AUC of who pays"),
    ("revenue_capture_10", "revenue of the best 10 %"),
];

fn metrics(client: &mut Client) -> Result<String> {
    let mut table = Table::new(&["", "with sessions", "without"]);
    for (metric, label) in METRICS {
        let mut cells = vec![label.to_owned()];
        for model in ["game", "game_blind"] {
            let row = client.query_opt(
                "select value from ltv_evaluate($1, 'select * from game.day_7 where player_id % 5 = 0') where metric = $2",
                &[&model, &metric],
            )?;
            let value: Option<f64> = row.and_then(|row| row.get(0));
            cells.push(value.map_or("-".into(), |value| format!("{value:.3}")));
        }
        table.row(cells);
    }
    Ok(table.to_string())
}

/// A player who registered a week ago, as of the end of the log.
fn night(client: &mut Client) -> Result<String> {
    client.batch_execute(
        "insert into game.players select max(player_id) + 1, date '2024-06-23', 'ads' from game.players",
    )?;
    client.batch_execute(NIGHTLY)?;
    let row = client.query_one(
        "select player_id, as_of::text, ltv_predict('game', d) from game.day_7 d order by player_id desc limit 1",
        &[],
    )?;
    Ok(format!(
        "Player {} is looked at on {} and expected to pay {}. Nobody else's row was touched.",
        row.get::<_, i32>(0),
        row.get::<_, String>(1),
        show::money(row.get(2))
    ))
}
