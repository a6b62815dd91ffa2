//! Kinds of addresses that the plugin may be told to listen on.

use clap::ValueEnum;

/// Kind of a listening address, in Go's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Network {
    /// TCP over IPv4 or IPv6.
    Tcp,
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// A unix socket.
    Unix,
    /// A unix socket that keeps message boundaries: not supported.
    Unixpacket,
}
