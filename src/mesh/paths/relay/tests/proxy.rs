//! Through a small HTTP proxy.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::sleep,
};

use super::{coturn::Coturn, *};
use crate::mesh::proxy::{Proxy, ProxyChoice, ProxyError};

/// What the proxy does with a request.
#[derive(Debug, Clone, Copy)]
enum Manner {
    Connects,
    Says(&'static str),
    Hangs,
}

/// A running proxy, and the lines it was asked with.
struct TestProxy {
    address: SocketAddr,
    asked: mpsc::Receiver<String>,
    running: AbortHandle,
}

impl Drop for TestProxy {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl TestProxy {
    /// Starts one; whatever name it is asked for, it connects to `target`.
    async fn start(manner: Manner, target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ask, asked) = mpsc::channel(64);
        #[expect(clippy::disallowed_methods, reason = "TestProxy owns it")]
        let running = tokio::spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                served.spawn(serve(stream, manner, target, ask.clone()));
            }
        });
        Self {
            address,
            asked,
            running: running.abort_handle(),
        }
    }

    fn choice(&self, secret: &str) -> Proxy {
        let url = format!("http://{secret}{}", self.address);
        match url.parse().unwrap() {
            ProxyChoice::Always { proxy, .. } => proxy,
            other => panic!("{other:?}"),
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    manner: Manner,
    target: SocketAddr,
    ask: mpsc::Sender<String>,
) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    let _ = ask.try_send(String::from_utf8(request).unwrap());
    match manner {
        Manner::Connects => {
            let mut onward = TcpStream::connect(target).await.unwrap();
            let good = b"HTTP/1.1 200 Ok\r\n\r\n";
            stream.write_all(good).await.unwrap();
            let _ = copy_bidirectional(&mut stream, &mut onward).await;
        }
        Manner::Says(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
        Manner::Hangs => sleep(LONG).await,
    }
}

#[tokio::test]
async fn streams_go_through_the_proxy_that_was_chosen_and_ask_it_by_name() {
    let Some(coturn) = Coturn::start().await else {
        return;
    };
    for protocol in [RelayProtocol::Tcp, RelayProtocol::Tls] {
        let mut config = coturn.config(protocol);
        let target = SocketAddr::new(config.server.host.parse().unwrap(), config.server.port);
        let mut proxy = TestProxy::start(Manner::Connects, target).await;
        // Only the proxy knows where that is, and the certificate is for that name.
        config.server.host = "relay.test".to_owned();
        config.proxy = Some(proxy.choice("ann:pass@"));
        let mut tried = Tried::start(config);
        tried.allocated().await;
        let asked = proxy.asked.recv().await.unwrap();
        let expected = format!("CONNECT relay.test:{} HTTP/1.1\r\n", target.port());
        assert!(asked.starts_with(&expected), "{asked}");
        assert!(asked.contains("\r\nProxy-Authorization: Basic YW5uOnBhc3M=\r\n"));
    }
}

#[tokio::test]
async fn a_proxy_of_the_environment_is_not_needed_where_the_direct_way_works() {
    let Some(coturn) = Coturn::start().await else {
        return;
    };
    let mut config = coturn.config(RelayProtocol::Tcp);
    let mut hanging = TestProxy::start(Manner::Hangs, coturn.plain).await;
    let mut proxy = hanging.choice("");
    proxy.only = false;
    config.proxy = Some(proxy);
    let mut tried = Tried::start(config.clone());
    tried.allocated().await;
    assert!(hanging.asked.try_recv().is_err());
    // And where the direct way does not, it is taken.
    let mut good = TestProxy::start(Manner::Connects, coturn.plain).await;
    let mut proxy = good.choice("");
    proxy.only = false;
    config.proxy = Some(proxy);
    config.server.host = "relay.invalid".to_owned();
    let mut tried = Tried::start(config);
    tried.allocated().await;
    assert!(good.asked.recv().await.is_some());
}

#[tokio::test]
async fn what_the_proxy_says_is_the_reason() {
    let nowhere: SocketAddr = "127.0.0.1:9".parse().unwrap();
    for (manner, error) in [
        (
            Manner::Says("HTTP/1.1 407 Who are you?\r\n\r\n"),
            ProxyError::Credentials,
        ),
        (
            Manner::Says("HTTP/1.1 403 Forbidden\r\n\r\n"),
            ProxyError::Refused(403),
        ),
        (Manner::Says("220 mail.example\r\n"), ProxyError::NotAProxy),
        (Manner::Hangs, ProxyError::Silent),
    ] {
        let proxy = TestProxy::start(manner, nowhere).await;
        let mut config = config(server(nowhere, RelayProtocol::Tcp));
        config.proxy = Some(proxy.choice(""));
        let failed = Tried::start(config).failed().await;
        assert_eq!(failed, RelayError::Proxy(error), "{manner:?}");
    }
}
