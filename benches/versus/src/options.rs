//! The command line.

use crate::rows::{GROWTH, ROWS};
use std::path::PathBuf;
use versus_work::Failure;

pub const USAGE: &str =
    "liner-versus [--quick] [--only NAME]… [--rounds N] [--json FILE] [--chart FILE [--from FILE]] [--list]
             [--broker PROGRAM] [--missing NAME=REASON]…

  --quick     the headline rows, two short rounds, in about two minutes
  --only      the rows of this name or starting with it, or `growth`, or one scenario of it as in `growth-idle`; may be
              repeated
  --rounds    how often each row is measured
  --json      writes all figures there
  --chart     draws the rates there, as SVG
  --from      measures nothing: the chart is of a file that --json wrote
  --list      prints the rows
  --broker    the program of the liner_broker rows
  --missing   why rows starting with NAME cannot run";

#[derive(Debug, Default)]
pub struct Options {
    pub quick: bool,
    pub only: Vec<String>,
    pub rounds: Option<usize>,
    pub json: Option<PathBuf>,
    pub chart: Option<PathBuf>,
    pub from: Option<PathBuf>,
    pub list: bool,
    pub help: bool,
    pub broker: Option<PathBuf>,
    pub missing: Vec<(String, String)>,
}

impl Options {
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, Failure> {
        let mut options = Options::default();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value\n{USAGE}"));
            match word.as_str() {
                "--quick" => options.quick = true,
                "--list" => options.list = true,
                "--help" => options.help = true,
                "--only" => options.only.push(known(value()?)?),
                "--rounds" => options.rounds = Some(value()?.parse()?),
                "--json" => options.json = Some(value()?.into()),
                "--chart" => options.chart = Some(value()?.into()),
                "--from" => options.from = Some(value()?.into()),
                "--broker" => options.broker = Some(value()?.into()),
                "--missing" => {
                    let value = value()?;
                    let (name, reason) = value.split_once('=').ok_or("--missing NAME=REASON")?;
                    options.missing.push((name.to_owned(), reason.to_owned()));
                }
                _ => return Err(format!("{word}?\n{USAGE}").into()),
            }
        }
        Ok(options)
    }

    /// Returns whether a row was selected.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.starts_with(only.as_str()))
    }
}

fn known(name: String) -> Result<String, Failure> {
    let known = GROWTH.iter().any(|of| of.starts_with(&name)) || ROWS.iter().any(|row| row.name.starts_with(&name));
    if known { Ok(name) } else { Err(format!("no row is called {name}; --list shows them").into()) }
}
