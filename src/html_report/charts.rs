//! Bars and histograms as the template draws them. Pure.

use serde::Serialize;

use super::numbers::{Histogram, Numbers};
use crate::report::words::{count, milliseconds, number, percent, plural, seconds};

/// Number of marks below a histogram.
const MARKS: usize = 4;
/// Width of a bar in percent of its place.
const BAR: f64 = 86.0;

/// A histogram whose drawing is 100 wide and 100 high.
#[derive(Debug, Default, Serialize)]
pub(super) struct HistogramChart {
    pub bars: Vec<HistogramBar>,
    /// Values at even distances below the bars.
    pub marks: Vec<String>,
    /// The number of the highest bar.
    pub top: String,
    /// What lies beside the bars, in words.
    pub beside: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct HistogramBar {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
    pub from: String,
    pub to: String,
    pub count: u64,
    pub count_text: String,
}

/// One line of a chart of bars.
#[derive(Debug, Serialize)]
pub(super) struct Bar {
    pub label: String,
    /// The number in words, with its unit.
    pub value: String,
    /// Its share of the whole, or another number beside it.
    pub beside: String,
    /// Length in percent of the longest one.
    pub length: f64,
}

impl HistogramChart {
    /// The histogram of numbers that are written like this; none without numbers.
    pub fn new(numbers: &Numbers, written: fn(f64) -> String) -> Option<HistogramChart> {
        let Histogram { edges, counts, below, above } = numbers.histogram()?;
        let top = counts.iter().copied().max().unwrap_or(0);
        let place = 100.0 / counts.len() as f64;
        let bar = |(at, (edges, counted)): (usize, (&[f64], &u64))| {
            let height = *counted as f64 / top.max(1) as f64 * 100.0;
            HistogramBar {
                x: short(place * at as f64 + place * (1.0 - BAR / 100.0) / 2.0),
                y: short(100.0 - height),
                width: short(place * BAR / 100.0),
                height: short(height),
                from: written(edges[0]),
                to: written(edges[1]),
                count: *counted,
                count_text: count(*counted),
            }
        };
        let bars = edges.windows(2).zip(&counts).enumerate().map(bar).collect();
        let marks = (0..=MARKS).map(|mark| {
            let (low, high) = (edges[0], edges[counts.len()]);
            written(low + (high - low) * mark as f64 / MARKS as f64)
        });
        let mut beside = Vec::new();
        if below > 0 {
            beside.push(format!("{} below {}", count(below), written(edges[0])));
        }
        if above > 0 {
            beside.push(format!("{} at {} or more", count(above), written(edges[counts.len()])));
        }
        Some(HistogramChart { bars, marks: marks.collect(), top: count(top), beside })
    }
}

/// A latency of so many milliseconds: `235 ms`, `12.5 s`.
pub(super) fn latency(latency: f64) -> String {
    if latency < 10_000.0 { milliseconds(latency) } else { seconds(latency / 1_000.0) }
}

/// A number of a value.
pub(super) fn value(value: f64) -> String {
    number(value)
}

/// Bars of numbers of rows, with their shares of all.
pub(super) fn counts<'a>(
    counted: impl Iterator<Item = (&'a str, u64)>,
    all: u64,
    nouns: [&str; 2],
) -> Vec<Bar> {
    let counted: Vec<(&str, u64)> = counted.collect();
    let longest = counted.iter().map(|(_, number)| *number).max().unwrap_or(0).max(1);
    let bar = |(label, number): (&str, u64)| Bar {
        label: label.to_owned(),
        value: plural(number, nouns[0], nouns[1]),
        beside: percent(number as f64 / all.max(1) as f64),
        length: short(number as f64 / longest as f64 * 100.0),
    };
    counted.into_iter().map(bar).collect()
}

/// Two decimals are enough for a drawing.
pub(super) fn short(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
