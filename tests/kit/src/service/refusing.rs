//! An upstream that is not there.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::net::TcpSocket;

/// A port that refuses every connection for as long as this lives: bound, so that nobody else is given it, and
/// never listened on.
pub struct Refusing {
    _socket: TcpSocket,
    address: SocketAddr,
}

impl Refusing {
    /// Takes a port.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn bind() -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = socket.local_addr().context("a bound socket has an address")?;
        Ok(Self { _socket: socket, address })
    }

    /// What refuses.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn it_refuses_and_nobody_else_can_listen_there() {
        let refusing = Refusing::bind().unwrap();
        let connected = TcpStream::connect(refusing.address()).map_err(|error| error.kind());
        assert_eq!(connected.err(), Some(ErrorKind::ConnectionRefused));
        let taken = TcpListener::bind(refusing.address()).map_err(|error| error.kind());
        assert_eq!(taken.err(), Some(ErrorKind::AddrInUse));
    }
}
