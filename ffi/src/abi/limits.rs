//! Functions for the limits of the process.

use super::*;
use crate::settings;

/// See `liner.h`.
#[unsafe(no_mangle)]
pub extern "C" fn lnr_set_max_message_size(bytes: usize) -> Bool {
    settings::set_max_message_size(bytes).into()
}

/// See `liner.h`.
#[unsafe(no_mangle)]
pub extern "C" fn lnr_get_max_message_size() -> usize {
    settings::max_message_size()
}

/// See `liner.h`.
#[unsafe(no_mangle)]
pub extern "C" fn lnr_set_compress_threshold(bytes: usize) -> Bool {
    settings::set_compress_threshold(bytes).into()
}

/// See `liner.h`.
#[unsafe(no_mangle)]
pub extern "C" fn lnr_get_compress_threshold() -> usize {
    settings::compress_threshold()
}

/// See `liner.h`.
#[unsafe(no_mangle)]
pub extern "C" fn lnr_set_max_send_queue(messages: usize) -> Bool {
    settings::set_max_send_queue(messages).into()
}

/// See `liner.h`.
#[unsafe(no_mangle)]
pub extern "C" fn lnr_get_max_send_queue() -> usize {
    settings::max_send_queue()
}
