//! The option `--device`, the same for every command that computes.

use crate::devices::{UnknownDevice, Wanted};
use clap::{
    Arg, Command,
    builder::{PossibleValue, TypedValueParser},
};
use std::{ffi::OsStr, str::FromStr as _};

/// How help shows what it takes.
pub(super) const DEVICES: &str = "auto|cpu|cuda|cuda:N";

/// Reads a device, and tells shells what can be completed.
#[derive(Clone)]
pub(super) struct DeviceParser;

impl TypedValueParser for DeviceParser {
    type Value = Wanted;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Wanted, clap::Error> {
        let parse: fn(&str) -> Result<Wanted, UnknownDevice> = Wanted::from_str;
        parse.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(["auto", "cpu", "cuda"].into_iter().map(PossibleValue::new)))
    }
}
