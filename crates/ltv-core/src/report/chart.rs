//! Charts as inline SVG: bars and lines with ticks, in a box that scales with the page.

use super::words::number;
use maud::{Markup, html};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 44.0;
/// Most ticks of an axis.
const TICKS: f64 = 6.0;

/// A series of values, one for each place on the x axis.
pub(super) struct Series<'a> {
    pub name: &'a str,
    pub values: Vec<f64>,
    /// As many of the last values are predicted: their line is dashed.
    pub ahead: usize,
}

/// What stands along the axes.
pub(super) struct Axes<'a> {
    pub x: &'a str,
    pub y: &'a str,
    /// Beside each value of a series in what appears when one points at it.
    pub place: &'a str,
}

/// The y axis: from 0, or below where a value is negative, to a round number above all values.
struct Scale {
    low: f64,
    high: f64,
    step: f64,
}

impl Scale {
    fn of(series: &[Series]) -> Self {
        let values = || series.iter().flat_map(|s| s.values.iter().copied());
        let low = values().filter(|v| v.is_finite()).fold(0.0, f64::min);
        let high = values().filter(|v| v.is_finite()).fold(low, f64::max);
        let span = if high > low { high - low } else { 1.0 };
        let step = round_step(span / TICKS);
        Self {
            low: (low / step).floor() * step,
            // A sum of shares may be a little more than all.
            high: ((low + span) / step - 1e-6).ceil() * step,
            step,
        }
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)
    }

    fn ticks(&self) -> Vec<f64> {
        let count = ((self.high - self.low) / self.step).round() as i32;
        (0..=count)
            .map(|tick| self.low + f64::from(tick) * self.step)
            .collect()
    }
}

/// The least of 1, 2 and 5 times a power of ten that is not less.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|times| times * power)
        .find(|step| *step >= least * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

/// Groups of bars, the series beside each other, each group with its name.
pub(super) fn bars(axes: &Axes, series: &[Series], names: &[String]) -> Markup {
    let scale = Scale::of(series);
    let groups = series.iter().map(|s| s.values.len()).max().unwrap_or(0);
    let room = (WIDTH - LEFT - RIGHT) / groups.max(1) as f64;
    let wide = 0.8 * room / series.len().max(1) as f64;
    let name = |group: usize| names.get(group).map_or("", String::as_str);
    frame(
        axes,
        series,
        &scale,
        &html! {
            @for (index, one) in series.iter().enumerate() {
                @for (group, value) in finite(&one.values) {
                    @let x = LEFT + room * (group as f64 + 0.1) + wide * index as f64;
                    @let (top, bottom) = (scale.y(value.max(0.0)), scale.y(value.min(0.0)));
                    rect.{ "fill" (index) } x=(round(x)) y=(round(top)) width=(round(wide)) height=(round(bottom - top)) {
                        title { (one.name) ", " (axes.place) " " (name(group)) ": " (number(value)) }
                    }
                }
            }
            @for group in 0..groups {
                (label(LEFT + room * (group as f64 + 0.5), name(group)))
            }
        },
    )
}

/// Lines over places, each with its name.
pub(super) fn lines(axes: &Axes, series: &[Series], names: &[String]) -> Markup {
    let scale = Scale::of(series);
    let places = series.iter().map(|s| s.values.len()).max().unwrap_or(0);
    let room = (WIDTH - LEFT - RIGHT) / places.saturating_sub(1).max(1) as f64;
    let every = round_step((places as f64 / 10.0).max(1.0)) as usize;
    let x = |place: usize| LEFT + room * place as f64;
    let name = |place: usize| names.get(place).map_or("", String::as_str);
    let points = |values: &[f64], from: usize, to: usize| {
        let drawn = finite(values).filter(|(place, _)| (from..to).contains(place));
        let drawn =
            drawn.map(|(place, value)| format!("{},{}", round(x(place)), round(scale.y(value))));
        drawn.collect::<Vec<_>>().join(" ")
    };
    frame(
        axes,
        series,
        &scale,
        &html! {
            @for (index, one) in series.iter().enumerate() {
                @let known = one.values.len().saturating_sub(one.ahead);
                polyline.{ "line" (index) } points=(points(&one.values, 0, known)) {}
                @if one.ahead > 0 {
                    polyline.{ "line" (index) " dashed" } points=(points(&one.values, known.saturating_sub(1), one.values.len())) {}
                }
                @for (place, value) in finite(&one.values) {
                    circle.{ "fill" (index) } cx=(round(x(place))) cy=(round(scale.y(value))) r="2.5" {
                        title { (one.name) ", " (axes.place) " " (name(place)) ": " (number(value)) }
                    }
                }
            }
            @for place in (0..places).step_by(every) {
                (label(x(place), name(place)))
            }
        },
    )
}

/// Axes, grid and legend around what is drawn.
fn frame(axes: &Axes, series: &[Series], scale: &Scale, drawn: &Markup) -> Markup {
    let middle = (HEIGHT - BOTTOM + TOP) / 2.0;
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label={ (axes.y) " by " (axes.x) } {
            @for tick in scale.ticks() {
                line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(round(scale.y(tick))) y2=(round(scale.y(tick))) {}
                text.end x=(LEFT - 6.0) y=(round(scale.y(tick) + 4.0)) { (number(tick)) }
            }
            (drawn)
            line.axis x1=(LEFT) x2=(WIDTH - RIGHT) y1=(round(scale.y(0.0))) y2=(round(scale.y(0.0))) {}
            text.middle x=((WIDTH + LEFT - RIGHT) / 2.0) y=(HEIGHT - 6.0) { (axes.x) }
            text.middle transform={ "translate(12 " (middle) ") rotate(-90)" } { (axes.y) }
            @for (index, one) in series.iter().enumerate() {
                @let x = LEFT + 150.0 * index as f64;
                rect.{ "fill" (index) } x=(x) y="6" width="10" height="10" {}
                text x=(x + 15.0) y="15" { (one.name) }
            }
        }
    }
}

fn label(x: f64, text: &str) -> Markup {
    html! { text.middle x=(round(x)) y=(HEIGHT - BOTTOM + 16.0) { (text) } }
}

fn finite(values: &[f64]) -> impl Iterator<Item = (usize, f64)> {
    let values = values.iter().copied().enumerate();
    values.filter(|(_, value)| value.is_finite())
}

/// A tenth of a pixel is enough.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[f64]) -> [Series<'static>; 1] {
        [Series {
            name: "a & b",
            values: values.to_vec(),
            ahead: 0,
        }]
    }

    const AXES: Axes = Axes {
        x: "group",
        y: "value",
        place: "group",
    };

    #[test]
    fn ticks_are_round_and_include_zero_and_every_value() {
        for (values, ticks) in [
            (&[3.0, 41.0][..], &[0.0, 10.0, 20.0, 30.0, 40.0, 50.0][..]),
            (&[0.07, 0.1], &[0.0, 0.02, 0.04, 0.06, 0.08, 0.1]),
            (&[100.0 + 1e-12], &[0.0, 20.0, 40.0, 60.0, 80.0, 100.0]),
            (&[-5.0, 5.0], &[-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0]),
            (&[0.0, 0.0], &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
            (&[], &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ] {
            let found = Scale::of(&series(values)).ticks();
            assert_eq!(found.len(), ticks.len(), "{values:?}: {found:?}");
            for (found, tick) in found.iter().zip(ticks) {
                assert!((found - tick).abs() < 1e-9, "{values:?}: {found}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_not_drawn_and_names_are_escaped() {
        for drawn in [
            bars(
                &AXES,
                &series(&[1.0, f64::NAN, f64::INFINITY]),
                &["1".to_owned()],
            ),
            lines(
                &AXES,
                &series(&[1.0, f64::NAN, f64::INFINITY]),
                &["1".to_owned()],
            ),
        ] {
            let svg = drawn.into_string();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert!(svg.contains("a &amp; b, group 1: 1"), "{svg}");
        }
    }

    #[test]
    fn a_bar_reaches_from_zero_to_its_value() {
        let svg = bars(&AXES, &series(&[50.0, -50.0]), &[]).into_string();
        let scale = Scale::of(&series(&[50.0, -50.0]));
        let height = round(scale.y(0.0) - scale.y(50.0));
        assert_eq!(
            svg.matches(&format!("height=\"{height}\"")).count(),
            2,
            "{svg}"
        );
    }

    #[test]
    fn what_is_predicted_is_dashed_from_the_last_known_value_on() {
        let [one] = series(&[1.0, 2.0, 3.0, 4.0]);
        let svg = lines(&AXES, &[Series { ahead: 2, ..one }], &[]).into_string();
        let points = |class: &str| {
            let from = svg.split(&format!("class=\"{class}\" points=\"")).nth(1);
            let points = from.and_then(|rest| rest.split('"').next()).unwrap_or("");
            points.split(' ').count()
        };
        assert_eq!((points("line0"), points("line0 dashed")), (2, 3), "{svg}");
    }

    #[test]
    fn nothing_at_all_can_be_drawn() {
        assert!(bars(&AXES, &[], &[]).into_string().ends_with("</svg>"));
        assert!(
            lines(&AXES, &series(&[]), &[])
                .into_string()
                .ends_with("</svg>")
        );
    }
}
