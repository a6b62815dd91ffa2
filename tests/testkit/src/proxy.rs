//! What stands between a client and a server in TCP: it passes bytes on, cuts all connections, or swallows what they carry, as
//! a NAT does that has forgotten them.

use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// What has happened to connections so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Events {
    /// How often all were cut.
    cut: u64,
    /// How often all were forgotten.
    forgotten: u64,
}

/// A proxy for one server. Stops when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: std::net::SocketAddr,
    server: String,
    events: watch::Sender<Events>,
    accepting: Option<AbortOnDropHandle<()>>,
}

impl Proxy {
    /// Listens on a free port, for connections to `server`.
    pub async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (events, _) = watch::channel(Events::default());
        let mut proxy = Self { address, server: server.to_owned(), events, accepting: None };
        proxy.accept(listener);
        proxy
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    fn accept(&mut self, listener: TcpListener) {
        let (events, server) = (self.events.clone(), self.server.clone());
        let accepting = async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(client, server.clone(), events.subscribe()));
            }
        };
        self.accepting = Some(AbortOnDropHandle::new(tokio::spawn(accepting)));
    }

    /// Cuts all connections, and refuses new ones until [`Proxy::restore`].
    pub async fn cut(&mut self) {
        self.events.send_modify(|events| events.cut += 1);
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            // The socket is closed when the task has ended.
            let _ = accepting.await;
        }
    }

    /// Takes connections again.
    pub async fn restore(&mut self) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option of sockets");
        socket.bind(self.address).expect("the port of before");
        self.accept(socket.listen(64).expect("a listener"));
    }

    /// Forgets all connections that there are: their bytes vanish, and nobody is told. New ones work.
    pub fn forget(&self) {
        self.events.send_modify(|events| events.forgotten += 1);
    }

    /// Cuts, and restores after so long.
    pub async fn outage(&mut self, time: Duration) {
        self.cut().await;
        tokio::time::sleep(time).await;
        self.restore().await;
    }
}

async fn connection(mut client: TcpStream, server: String, mut events: watch::Receiver<Events>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let before = *events.borrow_and_update();
    loop {
        let now = *events.borrow_and_update();
        if now.cut > before.cut {
            return;
        }
        let alive = now.forgotten == before.forgotten;
        tokio::select! {
            changed = events.changed() => if changed.is_err() { return },
            read = client.read(&mut up) => match read {
                Ok(0) | Err(_) => return,
                Ok(bytes) => if alive && server.write_all(&up[..bytes]).await.is_err() { return },
            },
            read = server.read(&mut down) => match read {
                Ok(0) | Err(_) => return,
                Ok(bytes) => if alive && client.write_all(&down[..bytes]).await.is_err() { return },
            },
        }
    }
}
