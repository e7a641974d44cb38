//! The `#` protocol: commands by hand over telnet, one room and one message group at a time (port 6500).

pub mod wire;
