//! Sockets: dialling, the handshake on both sides, and the read and write loops. No protocol beyond the first frames.

use crate::actors::node::{Node, random};
use crate::types::NodeId;
use crate::wire::codec::{self, Decoder};
use crate::wire::error::{LinkError, WireError};
use crate::wire::frame::{CloseCode, Frame, Hello, Welcome};
use crate::wire::handshake::{self, HandshakeRefusal, KnownPeer, Local};
use actix::Message;
use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use std::future::Future;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// The reason why a connection could not be made, or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    #[error("no address is known")]
    NoAddress,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no reply in time")]
    Timeout,
    #[error("closed by the peer")]
    Closed,
    #[error("{0}")]
    Link(#[from] LinkError),
    #[error("refused by the peer: {1}")]
    Refused(CloseCode, String),
    #[error("refused here: {0}")]
    Refusal(#[from] HandshakeRefusal),
    #[error("not a handshake")]
    NotAHandshake,
}

/// The connection of that number ended, sent by its read or write loop to the actor that owns it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ConnectionEnded {
    pub(crate) generation: u64,
    pub(crate) reason: String,
}

impl From<WireError> for ConnectionError {
    fn from(error: WireError) -> Self {
        ConnectionError::Link(error.into())
    }
}

/// A connection after its handshake, with the bytes read beyond it.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) decoder: Decoder,
}

fn local(node: &Node) -> Local {
    Local {
        node: node.id.clone(),
        topic: node.topic.clone(),
        addr: node.published.clone(),
        store: node.facts.id,
        epoch: node.fence.epoch,
        max_frame: node.config.limits.max_frame,
        max_message: node.config.limits.max_message,
    }
}

/// The size of each socket buffer of a link within one machine, in bytes. The system would let them grow to what a distant
/// peer needs, and the bytes in them would no longer fit the caches of the processor.
const LOCAL_BUFFER: usize = 1 << 20;

/// Sets the options of a socket.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if stream.peer_addr()?.ip().is_loopback() && may_have(LOCAL_BUFFER) {
        let socket = SockRef::from(stream);
        socket.set_send_buffer_size(LOCAL_BUFFER)?;
        socket.set_recv_buffer_size(LOCAL_BUFFER)?;
    }
    Ok(())
}

/// Returns whether a program may set socket buffers of this size. Otherwise it would get much smaller ones.
fn may_have(size: usize) -> bool {
    ["rmem_max", "wmem_max"].into_iter().all(|limit| {
        let limit = std::fs::read_to_string(format!("/proc/sys/net/core/{limit}"));
        limit.is_ok_and(|limit| limit.trim().parse::<usize>().is_ok_and(|limit| limit >= size))
    })
}

fn nonce() -> [u8; 16] {
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&random().to_le_bytes());
    nonce[8..].copy_from_slice(&random().to_le_bytes());
    nonce
}

async fn send(stream: &mut TcpStream, frame: &Frame<'_>) -> io::Result<()> {
    let mut out = BytesMut::new();
    codec::encode(frame, &mut out);
    stream.write_all(&out).await
}

/// The chunk with the first frame; the decoder keeps what follows.
async fn first_chunk(stream: &mut TcpStream, decoder: &mut Decoder) -> Result<Bytes, ConnectionError> {
    loop {
        if let Some(chunk) = decoder.next_chunk()? {
            return Ok(chunk);
        }
        if stream.read_buf(decoder.read_buf()).await? == 0 {
            return Err(ConnectionError::Closed);
        }
    }
}

/// Dials `peer` at each of its addresses, and at each address a host name resolves to, until one replies as that peer.
pub(crate) async fn dial(
    node: &Node,
    peer: &NodeId,
    addrs: &[String],
) -> Result<(Connection, Welcome), ConnectionError> {
    let limit = node.config.timing.connect_timeout;
    let mut last = ConnectionError::NoAddress;
    for addr in addrs {
        let resolved = match timeout(limit, lookup_host(addr)).await {
            Ok(Ok(resolved)) => resolved.collect::<Vec<_>>(),
            Ok(Err(error)) => {
                last = error.into();
                continue;
            }
            Err(_) => {
                last = ConnectionError::Timeout;
                continue;
            }
        };
        for target in resolved {
            let attempt = async {
                let stream = TcpStream::connect(target).await?;
                prepare(&stream)?;
                greet(node, peer, stream).await
            };
            match timeout(limit, attempt).await {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(error)) => last = error,
                Err(_) => last = ConnectionError::Timeout,
            }
        }
    }
    Err(last)
}

async fn greet(node: &Node, peer: &NodeId, mut stream: TcpStream) -> Result<(Connection, Welcome), ConnectionError> {
    let hello = handshake::hello(&local(node), peer.clone(), nonce());
    send(&mut stream, &Frame::Hello(hello.clone())).await?;
    let mut decoder = Decoder::new(node.config.limits.max_frame);
    let chunk = first_chunk(&mut stream, &mut decoder).await?;
    let welcome = match codec::decode(&chunk, u32::MAX)? {
        Some((Frame::Welcome(welcome), _)) => welcome,
        Some((Frame::Close { code, text }, _)) => return Err(ConnectionError::Refused(code, text)),
        _ => return Err(ConnectionError::NotAHandshake),
    };
    handshake::check_welcome(&hello, &welcome)?;
    Ok((Connection { stream, decoder }, welcome))
}

/// Reads the first frame of an accepted connection.
pub(crate) async fn read_hello(node: &Node, mut stream: TcpStream) -> Result<(Connection, Hello), ConnectionError> {
    prepare(&stream)?;
    let mut decoder = Decoder::new(node.config.limits.max_frame);
    let chunk = first_chunk(&mut stream, &mut decoder).await?;
    match codec::decode(&chunk, u32::MAX)? {
        Some((Frame::Hello(hello), _)) => Ok((Connection { stream, decoder }, hello)),
        _ => Err(ConnectionError::NotAHandshake),
    }
}

/// Replies to a hello with a welcome or with the reason of the refusal.
pub(crate) async fn answer_hello(
    node: &Node,
    connection: &mut Connection,
    hello: &Hello,
    known: Option<&KnownPeer>,
) -> Result<(), ConnectionError> {
    match handshake::negotiate(hello, &local(node), known, nonce()) {
        Ok(welcome) => Ok(send(&mut connection.stream, &Frame::Welcome(welcome)).await?),
        Err(refusal) => {
            send(&mut connection.stream, &refusal.clone().into_frame()).await?;
            Err(refusal.into())
        }
    }
}

/// Reads until the connection ends, and passes chunks of whole frames on. The next read starts after the last chunk was
/// handled, so that a slow consumer fills the socket of the peer and not the memory here.
pub(crate) async fn read_loop<R, F>(
    mut reader: R,
    mut decoder: Decoder,
    mut take: impl FnMut(Bytes) -> F,
) -> ConnectionError
where
    R: AsyncRead + Unpin,
    F: Future<Output = Result<(), ConnectionError>>,
{
    loop {
        loop {
            match decoder.next_chunk() {
                Ok(Some(chunk)) => {
                    if let Err(error) = take(chunk).await {
                        return error;
                    }
                }
                Ok(None) => break,
                Err(error) => return error.into(),
            }
        }
        match reader.read_buf(decoder.read_buf()).await {
            Ok(0) => return ConnectionError::Closed,
            Ok(_) => {}
            Err(error) => return error.into(),
        }
    }
}

/// Writes the buffers of `next` until the connection ends, and returns each to `done`. `idle` resolves when there may be
/// more.
pub(crate) async fn write_loop<W, F>(
    mut writer: W,
    mut next: impl FnMut() -> Option<Bytes>,
    mut done: impl FnMut(Bytes),
    mut idle: impl FnMut() -> F,
) -> ConnectionError
where
    W: AsyncWrite + Unpin,
    F: Future<Output = ()>,
{
    loop {
        while let Some(bytes) = next() {
            if let Err(error) = writer.write_all(&bytes).await {
                return error.into();
            }
            done(bytes);
        }
        idle().await;
    }
}
