//! The option `--device`, which is the same for every command that computes.

use crate::api::devices::{DeviceChoice, UnknownDevice};
use clap::{
    Arg, Command,
    builder::{PossibleValue, TypedValueParser},
};
use std::{ffi::OsStr, str::FromStr as _};

/// What a command may be told about devices.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct DeviceArgs {
    /// Device to compute on: auto (every card that can be used, otherwise the CPU), cpu, cuda (every
    /// card), or cuda:N (that card). If a card cannot be used, the CPU computes, and the command says so.
    /// Without this option: `device` in the settings, or auto.
    #[arg(long, value_name = "auto|cpu|cuda|cuda:N", value_parser = DeviceParser, hide_possible_values = true)]
    pub(super) device: Option<DeviceChoice>,
}

/// Parses a device, and lists the values that shells can complete.
#[derive(Clone)]
struct DeviceParser;

impl TypedValueParser for DeviceParser {
    type Value = DeviceChoice;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<DeviceChoice, clap::Error> {
        let parse: fn(&str) -> Result<DeviceChoice, UnknownDevice> = DeviceChoice::from_str;
        parse.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(["auto", "cpu", "cuda"].into_iter().map(PossibleValue::new)))
    }
}
