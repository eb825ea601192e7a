//! What the customers of a month have brought and will have brought: a triangle of ages, and curves with the forecast dashed.

use super::chart::{self, Axes, Series};
use super::document::{Cohort, Report};
use super::words::number;
use maud::{Markup, html};

/// Ages that a table on a page has room for.
const MOST_AGES: usize = 9;
/// The latest cohorts.
const MOST_COHORTS: usize = 24;
/// Curves that can be told apart.
const MOST_CURVES: usize = 4;
/// Share of the colour in the cell of the greatest value, in per cent: text stays readable on it.
const DARKEST: f64 = 55.0;

impl Report {
    pub(super) fn cohort_triangle(&self) -> Markup {
        let cohorts = by_cohort(&self.cohorts);
        let ages = cohorts.iter().map(|rows| rows.len()).max().unwrap_or(0);
        if ages == 0 {
            return html! {};
        }
        let every = ages.div_ceil(MOST_AGES).max(1);
        let shown: Vec<usize> = (0..ages).step_by(every).collect();
        let longest = cohorts.iter().max_by_key(|rows| rows.len());
        let day = |age: usize| {
            longest
                .and_then(|rows| rows.get(age))
                .map_or(f64::NAN, |row| row.days)
        };
        let greatest = self.cohorts.iter().map(Cohort::money);
        let greatest = greatest
            .filter(|value| value.is_finite())
            .fold(0.0, f64::max);
        let has_costs = self.cohorts.iter().any(|row| row.cost.is_finite());
        html! {
            h2 { "Cohorts" }
            p.quiet { "What each customer has brought by the days after the start, on average; what is predicted is in italics." }
            (chart::lines(
                &Axes { x: "days after the start", y: "revenue of a customer", place: "day" },
                &curves(&cohorts),
                &(0..ages).map(|age| number(day(age))).collect::<Vec<_>>(),
            ))
            div.table { table.heat {
                tr {
                    th { "start" } th.number { "customers" }
                    @for &age in &shown { th.number { (number(day(age))) } }
                }
                @for rows in &cohorts {
                    tr {
                        td.day { (rows[0].cohort) } td.number { (number(rows[0].customers)) }
                        @for &age in &shown {
                            @match rows.get(age) {
                                Some(row) => td.number.ahead[row.is_ahead()] style={ "--heat:" (heat(row.money(), greatest)) "%" } { (number(row.money())) },
                                None => td {},
                            }
                        }
                    }
                }
            } }
            @if has_costs {
                div.table { table {
                    tr {
                        th { "start" }
                        @for name in ["customers", "cost of each", "value to cost", "paid back on day"] { th.number { (name) } }
                    }
                    @for rows in &cohorts {
                        tr {
                            td.day { (rows[0].cohort) } td.number { (number(rows[0].customers)) }
                            td.number { (number(rows[0].cost)) }
                            td.number { (number(rows[0].ltv_to_cac)) }
                            td.number { @if rows[0].cost.is_finite() { (payback(rows[0])) } }
                        }
                    }
                } }
            }
        }
    }
}

fn heat(value: f64, greatest: f64) -> String {
    match value.is_finite() && greatest > 0.0 {
        true => format!("{:.0}", (DARKEST * value / greatest).clamp(0.0, DARKEST)),
        false => "0".to_owned(),
    }
}

/// The day, with its interval where it is yet to come.
fn payback(row: &Cohort) -> String {
    let day = |day: f64| match day.is_finite() {
        true => number(day),
        false => "later".to_owned(),
    };
    let [on, earliest, latest] = [row.payback_day, row.payback_earliest, row.payback_latest];
    match on.total_cmp(&earliest).is_eq() && on.total_cmp(&latest).is_eq() {
        true => day(on),
        false if earliest.is_finite() => {
            format!("{} ({} to {})", day(on), day(earliest), day(latest))
        }
        false => day(on),
    }
}

/// The latest cohorts, each with its ages.
fn by_cohort(rows: &[Cohort]) -> Vec<Vec<&Cohort>> {
    let mut cohorts: Vec<Vec<&Cohort>> = Vec::new();
    for row in rows {
        match cohorts.last_mut() {
            Some(cohort) if cohort[0].cohort == row.cohort => cohort.push(row),
            _ => cohorts.push(vec![row]),
        }
    }
    cohorts.split_off(cohorts.len().saturating_sub(MOST_COHORTS))
}

/// Of some cohorts, evenly spread.
fn curves<'a>(cohorts: &[Vec<&'a Cohort>]) -> Vec<Series<'a>> {
    let every = cohorts.len().div_ceil(MOST_CURVES).max(1);
    let some = cohorts.iter().step_by(every);
    some.map(|rows| Series {
        name: rows[0].cohort.as_str(),
        values: rows.iter().map(|row| row.money()).collect(),
        ahead: rows.iter().filter(|row| row.is_ahead()).count(),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;
    use serde_json::{Value, json};

    /// Of two ages known and one to come.
    fn rows(cohort: &str, cost: Value, payback: [Value; 3]) -> Vec<Value> {
        let [day, earliest, latest] = payback;
        let row = |days: u32, revenue: Value, predicted: Value| {
            json!({"cohort": cohort, "days": days, "customers": 10, "revenue": revenue, "predicted_revenue": predicted, "cost": cost, "ltv_to_cac": 1.5,
                   "payback_day": day, "payback_earliest": earliest, "payback_latest": latest})
        };
        vec![
            row(0, json!(5), Value::Null),
            row(30, json!(8), Value::Null),
            row(60, Value::Null, json!(10)),
        ]
    }

    fn triangle(rows: Vec<Value>) -> Result<String> {
        let document = json!({"model": "m", "version": 1, "kind": "ziln", "created": "", "basis": "held_out", "metrics": [], "cohorts": rows});
        Ok(Report::from_json(document)?.cohort_triangle().into_string())
    }

    #[test]
    fn ages_are_cells_what_is_predicted_is_told_apart_and_payback_has_its_interval() -> Result<()> {
        let mut all = rows("1997-01-01", json!(9), [json!(51), json!(44), Value::Null]);
        all.extend(rows("1997-02-01", json!(4), [json!(0), json!(0), json!(0)]));
        let html = triangle(all)?;
        assert!(
            html.contains("<td class=\"number\" style=\"--heat:44%\">8</td>"),
            "{html}"
        );
        assert!(
            html.contains("<td class=\"number ahead\" style=\"--heat:55%\">10</td>"),
            "{html}"
        );
        assert!(
            html.contains("<td class=\"number\">51 (44 to later)</td>"),
            "{html}"
        );
        assert!(html.contains("<td class=\"number\">0</td>"), "{html}");
        assert!(
            html.contains("<title>1997-02-01, day 60: 10</title>"),
            "{html}"
        );
        assert_eq!(html.matches("dashed").count(), 2);
        Ok(())
    }

    #[test]
    fn without_costs_there_are_no_columns_for_them_and_without_cohorts_nothing() -> Result<()> {
        let unknown = || [Value::Null, Value::Null, Value::Null];
        let html = triangle(rows("1997-01-01", Value::Null, unknown()))?;
        assert!(!html.contains("paid back"), "{html}");
        assert_eq!(triangle(Vec::new())?, "");
        let many = (0..30).flat_map(|month| rows(&format!("{month}"), Value::Null, unknown()));
        let html = triangle(many.collect())?;
        assert_eq!(html.matches("<tr>").count(), 1 + MOST_COHORTS);
        assert!(
            !html.contains("<td class=\"day\">5</td>") && html.contains("<td class=\"day\">6</td>"),
            "{html}"
        );
        Ok(())
    }
}
