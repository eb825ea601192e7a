//! The end of the demo: whom to write to, the funnel of the list, and a result that is simulated and says so.

use anyhow::Result;
use postgres::Client;

use super::exists;
use super::show::{self, Clock, Table};

/// Members are drawn by a hash of the id, so that a list made again is the same.
const LIST: &str = "select * from ltv_create_campaign('autumn', 'cdnow', 'cdnow_features',
           hold_out => 0.2, budget => 2000, cost_per_contact => 0.80, margin => 0.25,
           start => '1997-10-01')";

/// Nobody wrote to these customers in 1997: what contacts would have brought is put in.
const SIMULATED: &str = "create or replace view orders_with_lift as
select o.customer_id, o.ordered_at,
       o.amount * case when c.drawn_arm = 'contact' and o.ordered_at >= c.since then 1.25 else 1 end as amount
from orders o left join autumn c using (customer_id)";

const RESULT: &str = "select * from ltv_campaign_result('autumn', 'orders_with_lift',
           date_column => 'ordered_at', value_column => 'amount')";

pub fn show(client: &mut Client, clock: &mut Clock, number: usize) -> Result<()> {
    if exists(client, "autumn")? {
        client.batch_execute("drop table autumn cascade")?;
    }
    let funnel = clock.time("list a campaign", || funnel(client))?;
    show::step(
        number,
        "A campaign: the best customers that 2,000 pays for, a fifth of them held back to compare with",
        Some(LIST),
        "",
    );
    println!("{funnel}");
    let result = clock.time("judge the campaign", || result(client))?;
    show::step(
        number + 1,
        "What it brought, had each contact made a customer spend a quarter more (simulated)",
        Some(RESULT),
        "",
    );
    println!("{result}");
    Ok(())
}

fn funnel(client: &mut Client) -> Result<String> {
    let mut table = Table::new(&["", "customers", "left out", "cost", "expected profit"]);
    for row in client.query(LIST, &[])? {
        let left_out: Option<i64> = row.get("left_out");
        table.row(vec![
            row.get::<_, &str>("step").replace('_', " "),
            show::count(row.get("customers")),
            left_out.filter(|&n| n > 0).map_or("-".into(), show::count),
            show::money(row.get("cost")),
            show::money(row.get("expected_profit")),
        ]);
    }
    Ok(format!("{table}The members are in table autumn."))
}

fn result(client: &mut Client) -> Result<String> {
    client.batch_execute(SIMULATED)?;
    let mut table = Table::new(&[
        "tier",
        "contacted",
        "held out",
        "per head",
        "held out, per head",
        "lift",
        "95 % interval",
        "profit",
    ]);
    let mut conclusion = String::new();
    for row in client.query(RESULT, &[])? {
        let tier: Option<i32> = row.get("tier");
        if tier.is_none() {
            conclusion = row.get("conclusion");
        }
        let (low, high): (Option<f64>, Option<f64>) = (row.get("lift_low"), row.get("lift_high"));
        table.row(vec![
            tier.map_or("all".into(), |tier| tier.to_string()),
            show::count(row.get("contacted")),
            show::count(row.get("held_out")),
            show::money(row.get("contact_spend")),
            show::money(row.get("hold_out_spend")),
            show::money(row.get("lift")),
            match low.zip(high) {
                Some((low, high)) => format!("{low:.2} to {high:.2}"),
                None => "-".into(),
            },
            show::money(row.get("profit")),
        ]);
    }
    Ok(format!("{table}In all, {conclusion}."))
}
