//! Which worker did what when, and where the time went.

use std::time::Duration;

use jiff::Timestamp;
use maud::{Markup, html};

use super::charts::{bar, short};
use super::facts::Phase;
use super::{Page, count, id};
use crate::event::DeploymentResult;
use crate::report::text;

/// How many lanes are drawn.
const LANES: usize = 64;

/// Sizes in units of the drawing.
const WIDTH: f64 = 1000.0;
const LANE: usize = 14;
const BAR: usize = 11;
const AXIS: usize = 18;

/// A deployment that begins this much before another has ended may be of the same worker: beginnings are told by the
/// clock, lengths are measured.
const BLUR: Duration = Duration::from_millis(50);

/// How many of the slowest deployments are named.
const SLOWEST: usize = 8;

/// A deployment on the drawing.
#[derive(Debug)]
struct Bar {
    /// Where it stands among the deployments of the page.
    at: usize,
    lane: usize,
    /// From the beginning of the drawing.
    from: Duration,
    took: Duration,
}

/// The lanes of a run: as many as deployments were under way at once.
#[derive(Debug, Default)]
struct Lanes {
    bars: Vec<Bar>,
    count: usize,
    length: Duration,
}

impl Lanes {
    fn of(results: &[&DeploymentResult]) -> Self {
        let mut started: Vec<(Timestamp, usize)> =
            results.iter().enumerate().filter_map(|(at, result)| Some((result.started?, at))).collect();
        started.sort();
        let Some((first, _)) = started.first().copied() else { return Self::default() };
        let mut ends: Vec<Duration> = Vec::new();
        let mut lanes = Self::default();
        for (began, at) in started {
            let from = Duration::try_from(began.duration_since(first)).unwrap_or_default();
            let took = results[at].duration;
            let lane = ends.iter().position(|end| *end <= from + BLUR).unwrap_or(ends.len());
            if lane == ends.len() {
                ends.push(Duration::ZERO);
            }
            ends[lane] = from + took;
            lanes.bars.push(Bar { at, lane, from, took });
            lanes.length = lanes.length.max(from + took);
        }
        lanes.count = ends.len();
        lanes
    }

    /// How far right a moment is.
    fn x(&self, moment: Duration) -> f64 {
        if self.length.is_zero() { 0.0 } else { WIDTH * moment.as_secs_f64() / self.length.as_secs_f64() }
    }
}

/// The section; nothing where no deployment was started, or no summary says when.
pub(super) fn section(page: &Page<'_>) -> Markup {
    let lanes = Lanes::of(&page.results);
    html! {
        @if !lanes.length.is_zero() {
            section aria-labelledby="time-h" {
                h2 #time-h { "Where the time went" }
                (drawing(page, &lanes))
                div.charts {
                    (steps(page))
                    (slowest(page))
                }
            }
        }
    }
}

fn drawing(page: &Page<'_>, lanes: &Lanes) -> Markup {
    let shown = lanes.count.min(LANES);
    let height = shown * LANE + AXIS;
    let words = format!(
        "{} in {} side by side, over {}. The tables below have the same in numbers.",
        text::deployments(lanes.bars.len()),
        count(lanes.count, "lane"),
        text::duration(lanes.length)
    );
    let hidden = lanes.bars.iter().filter(|bar| bar.lane >= shown).count();
    html! {
        figure.timeline {
            div.scroll tabindex="0" role="group" aria-label="Timeline, scrolls sideways" {
                svg viewBox={ "0 0 1000 " (height) } role="img" aria-labelledby="timeline-t timeline-d" {
                    title #timeline-t { "Timeline of workers and deployments" }
                    desc #timeline-d { (words) }
                    @for (x, label) in ticks(lanes) {
                        line.tick x1=(short(x)) x2=(short(x)) y1="0" y2=(shown * LANE) {}
                        text.tick x=(short(x)) y=(height - 4) text-anchor=(if x < 1.0 { "start" } else if x > 960.0 { "end" } else { "middle" }) { (label) }
                    }
                    @for bar in lanes.bars.iter().filter(|bar| bar.lane < shown) { (drawn(page, lanes, bar)) }
                }
            }
            figcaption {
                p.legend {
                    @for phase in Phase::ALL { span { i class={ "swatch " (phase.class()) } {} " " (phase.label()) } }
                    span { i.swatch.f-failed {} " line below: did not succeed" }
                }
                p.note {
                    (words)
                    @if hidden > 0 { " Not drawn, for want of lanes: " (text::deployments(hidden)) "." }
                }
            }
        }
    }
}

/// One deployment: its steps one after another, and a line below it where it did not succeed.
fn drawn(page: &Page<'_>, lanes: &Lanes, bar: &Bar) -> Markup {
    let result = page.results[bar.at];
    let (y, start) = (bar.lane * LANE, lanes.x(bar.from));
    let whole = (lanes.x(bar.took)).max(0.6);
    let mut from = Duration::ZERO;
    let mut parts: Vec<(Phase, Duration, Duration)> = Vec::new();
    for (step, took) in &result.steps {
        match parts.last_mut() {
            Some((phase, _, all)) if *phase == Phase::of(*step) => *all += *took,
            _ => parts.push((Phase::of(*step), from, *took)),
        }
        from += *took;
    }
    let label = format!("{}: {}, {}", result.deployment.name, text::ended(result), text::duration(bar.took));
    html! {
        // The table has the same links: here they would be hundreds of stops for the keyboard.
        a href={ "#" (id(bar.at)) } tabindex="-1" {
            title { (text::line(&label)) }
            rect.base x=(short(start)) y=(y) width=(short(whole)) height=(BAR) {}
            @for (phase, from, took) in parts {
                // What is narrower than half a unit is not seen.
                @if lanes.x(took) >= 0.5 {
                    rect class=(phase.class()) x=(short(start + lanes.x(from))) y=(y) width=(short(lanes.x(took))) height=(BAR) {}
                }
            }
            @if !result.outcome.is_success() {
                rect class={ "f-" (result.outcome.as_str()) } x=(short(start)) y=(y + BAR) width=(short(whole.max(3.0))) height="2" {}
            }
        }
    }
}

/// Moments at which the drawing has a line, at round distances.
fn ticks(lanes: &Lanes) -> Vec<(f64, String)> {
    const ROUND: [u64; 14] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];
    let wanted = lanes.length.as_secs_f64() / 8.0;
    let distance = ROUND.into_iter().map(Duration::from_secs).find(|step| step.as_secs_f64() >= wanted);
    let distance = distance.unwrap_or(Duration::from_secs(4 * 3600).max(lanes.length / 8));
    let mut ticks = Vec::new();
    let mut at = Duration::ZERO;
    while at <= lanes.length && ticks.len() < 40 {
        let label = if at.is_zero() { "0".to_owned() } else { text::duration(at) };
        ticks.push((lanes.x(at), label));
        at += distance;
    }
    ticks
}

fn steps(page: &Page<'_>) -> Markup {
    let facts = &page.facts;
    let longest = facts.steps.first().map_or(0.0, |(_, took)| took.as_secs_f64());
    let all: f64 = facts.worked.as_secs_f64();
    let known: Duration = facts.steps.iter().map(|(_, took)| *took).sum();
    let of = |took: Duration, whole: f64| if whole > 0.0 { took.as_secs_f64() / whole } else { 0.0 };
    html! {
        section.chart aria-labelledby="steps-h" {
            h3 #steps-h { "By step, over all deployments" }
            table {
                caption.hidden { "Time by step, over all deployments" }
                thead { tr { th scope="col" { "Step" } th.wide aria-hidden="true" {} th.n scope="col" { "Time" } th.n scope="col" { "Share" } } }
                tbody {
                    @for (step, took) in &facts.steps {
                        tr {
                            th scope="row" { (step.as_str()) }
                            td.wide { (bar(step.as_str(), &text::duration(*took), &[(Phase::of(*step).class().to_owned(), of(*took, longest))])) }
                            td.n { (text::duration(*took)) }
                            td.n { (format!("{:.1} %", 100.0 * of(*took, all))) }
                        }
                    }
                    @let between = facts.worked.saturating_sub(known);
                    @if of(between, all) >= 0.001 {
                        tr { th scope="row" { "between steps" } td.wide {} td.n { (text::duration(between)) } td.n { (format!("{:.1} %", 100.0 * of(between, all))) } }
                    }
                }
            }
        }
    }
}

fn slowest(page: &Page<'_>) -> Markup {
    let mut slowest: Vec<(usize, &&DeploymentResult)> = page.results.iter().enumerate().collect();
    slowest.sort_by_key(|(_, result)| std::cmp::Reverse(result.duration));
    slowest.truncate(SLOWEST);
    html! {
        section.chart aria-labelledby="slow-h" {
            h3 #slow-h { "The slowest deployments" }
            table {
                caption.hidden { "The slowest deployments" }
                thead { tr { th scope="col" { "Deployment" } th scope="col" { "Longest step" } th.n scope="col" { "Time" } } }
                tbody {
                    @for (at, result) in slowest {
                        tr {
                            th scope="row" { a href={ "#" (id(at)) } { (text::line(&result.deployment.name)) } }
                            td {
                                @if let Some((step, took)) = result.steps.iter().max_by_key(|(_, took)| *took) {
                                    (step.as_str()) " (" (text::duration(*took)) ")"
                                }
                            }
                            td.n { (text::duration(result.duration)) }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome;
    use crate::report::samples;

    fn at(second: i64, millis: u64) -> DeploymentResult {
        let mut result =
            DeploymentResult::new(samples::deployment("a"), crate::model::Action::Apply, Outcome::Succeeded);
        result.started = Some(samples::at(second));
        result.duration = Duration::from_millis(millis);
        result
    }

    #[test]
    fn as_many_lanes_as_were_at_work_at_once() {
        let results = [at(0, 4_000), at(1, 1_020), at(2, 5_000), at(4, 1_000), at(9, 500)];
        let mut never = at(0, 0);
        never.started = None;
        let all: Vec<&DeploymentResult> = results.iter().chain([&never]).collect();
        let lanes = Lanes::of(&all);
        let placed: Vec<(usize, usize)> = lanes.bars.iter().map(|bar| (bar.at, bar.lane)).collect();
        assert_eq!(placed, [(0, 0), (1, 1), (2, 1), (3, 0), (4, 0)], "20 ms are the blur of the clock");
        assert_eq!((lanes.count, lanes.length), (2, Duration::from_millis(9_500)));
        assert_eq!(Lanes::of(&[&never]).count, 0);
    }

    #[test]
    fn ticks_are_round_and_few() {
        for (seconds, second) in [(7, "1.0s"), (95, "15s"), (3_600, "10m 00s"), (100_000, "4h 00m 00s")] {
            let lanes = Lanes { length: Duration::from_secs(seconds), ..Lanes::default() };
            let ticks = ticks(&lanes);
            assert_eq!(ticks[1].1, second);
            assert!((4..=10).contains(&ticks.len()), "{seconds}: {ticks:?}");
        }
    }
}
