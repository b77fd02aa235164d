//! The rates as bars in one SVG, with a panel for each size. Limits and fan-out are left out: their rates are of another order
//! of magnitude.

use crate::results::{Results, SampleKey};
use crate::rows::{BURST, Group, ROWS, Row, SIZES};
use crate::table::short;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::path::Path;
use versus_work::Failure;

const WIDTH: u32 = 1_000;
const BAR: u32 = 22;
/// Above and below the bars of a panel.
const MARGIN: u32 = 60;
const NAMES: i32 = 190;
/// Space at the right for the figure of the longest bar.
const FIGURE: i32 = 80;

const OURS: RGBColor = RGBColor(0x1f, 0x77, 0xb4);
const OTHERS: RGBColor = RGBColor(0xa0, 0xa0, 0xa0);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn bars(results: &Results, size: usize) -> Vec<(&'static Row, f64)> {
    let rate = |row: &'static Row| {
        let key = SampleKey { row: row.name, size, burst: BURST, together: false };
        Some((row, results.rate(&key)?.median))
    };
    ROWS.iter().filter(|row| !matches!(row.group, Group::FanOut | Group::Limit)).filter_map(rate).collect()
}

pub fn draw(file: &Path, results: &Results) -> Result<(), Failure> {
    let panels = SIZES.map(|size| (size, bars(results, size)));
    let heights = panels.each_ref().map(|(_, bars)| bars.len() as u32 * BAR + MARGIN);
    let root = SVGBackend::new(file, (WIDTH, heights.iter().sum())).into_drawing_area();
    root.fill(&WHITE).map_err(|error| error.to_string())?;
    let (upper, lower) = root.split_vertically(heights[0]);
    for (area, (size, bars)) in [upper, lower].iter().zip(&panels) {
        panel(area, *size, bars).map_err(|error| error.to_string())?;
    }
    root.present().map_err(|error| error.to_string().into())
}

type Drawn = Result<(), DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>>;

fn panel(area: &Area<'_>, size: usize, bars: &[(&'static Row, f64)]) -> Drawn {
    let (title, text) = (("sans-serif", 17).into_font(), ("sans-serif", 13).into_font());
    area.draw(&Text::new(format!("messages of {size} B per second, median"), (10, 10), title))?;
    let longest = bars.iter().map(|(_, rate)| *rate).fold(1.0, f64::max);
    for (at, (row, rate)) in bars.iter().enumerate() {
        let top = (MARGIN * 2 / 3 + at as u32 * BAR).cast_signed();
        let end = NAMES + (f64::from(WIDTH.cast_signed() - NAMES - FIGURE) * rate / longest) as i32;
        let color = if row.name.starts_with("liner") { OURS } else { OTHERS };
        area.draw(&Text::new(row.name, (10, top + 3), text.clone()))?;
        area.draw(&Rectangle::new([(NAMES, top), (end, top + BAR.cast_signed() - 4)], color.filled()))?;
        area.draw(&Text::new(short(*rate), (end + 6, top + 3), text.clone()))?;
    }
    Ok(())
}
