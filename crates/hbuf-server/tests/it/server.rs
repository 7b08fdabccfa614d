//! A server of a test's own, on a free port of loopback, and a small client that shares no code
//! with it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hbuf_server::engine::{Engine, EngineSettings};
use hbuf_server::http::{HttpSettings, serve};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longest silence that a test accepts.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// A running server; it stops when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Engine,
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
    data: Arc<TempDir>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(HttpSettings::default())
    }

    pub(crate) fn with(settings: HttpSettings) -> Self {
        Self::on(Arc::new(tempfile::tempdir().unwrap()), settings)
    }

    /// Stops, lets the files be changed, and starts on them.
    pub(crate) fn start_again(self, change: impl FnOnce()) -> Self {
        let data = Arc::clone(&self.data);
        drop(self);
        change();
        Self::on(data, HttpSettings::default())
    }

    fn on(data: Arc<TempDir>, settings: HttpSettings) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let engine_settings = EngineSettings {
            data: data.path().join("data"),
            prewrite_bytes: 0,
            ..EngineSettings::default()
        };
        let engine = runtime.block_on(Engine::start(engine_settings)).unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = runtime.spawn(serve(listener, engine.clone(), settings, async move {
            // A dropped sender stops the server as well.
            let _ = stopped.await;
        }));
        Self {
            address,
            engine,
            runtime: Some(runtime),
            stop: Some(stop),
            serving: Some(serving),
            data,
        }
    }

    /// The directory of a buffer of the tenant `-`.
    pub(crate) fn buffer_dir(&self, name: &str) -> PathBuf {
        self.data.path().join("data/names/-").join(name)
    }

    pub(crate) fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(SILENCE_MAX)).unwrap();
        stream.set_write_timeout(Some(SILENCE_MAX)).unwrap();
        Connection {
            stream: BufReader::new(stream),
        }
    }

    /// Asks the server to stop, without waiting for it.
    pub(crate) fn ask_to_stop(&mut self) {
        self.stop.take();
    }

    /// Waits until the server has let its clients go.
    pub(crate) fn wait_stopped(&mut self) {
        let serving = self.serving.take().unwrap();
        self.runtime.as_ref().unwrap().block_on(serving).unwrap();
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        let runtime = self.runtime.take().unwrap();
        runtime.block_on(self.engine.stop());
        // Whatever still runs has the engine, and with it the lock of the data directory.
        runtime.shutdown_timeout(RUNTIME_END_MAX);
    }
}

/// How long tasks that are under way may take to end.
const RUNTIME_END_MAX: Duration = Duration::from_secs(30);

/// A connection to the server, as bytes.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

/// A reply, read to its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Connection {
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        self.stream.get_mut()
    }

    /// Sends a request whose body is counted here, and reads the reply.
    pub(crate) fn call(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        let has = |name: &str| {
            headers
                .iter()
                .any(|(found, _)| found.eq_ignore_ascii_case(name))
        };
        if !has("host") {
            head.push_str("host: localhost\r\n");
        }
        if !has("content-length") && !has("transfer-encoding") && !body.is_empty() {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.send(&[head.as_bytes(), body].concat());
        self.reply(method).unwrap()
    }

    pub(crate) fn get(&mut self, target: &str) -> Reply {
        self.call("GET", target, &[], b"")
    }

    pub(crate) fn post(&mut self, target: &str, body: &str) -> Reply {
        self.call("POST", target, &[], body.as_bytes())
    }

    /// Reads the head of a reply; the body is left.
    pub(crate) fn head(&mut self) -> io::Result<Reply> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Reply {
                    status,
                    headers,
                    body: Vec::new(),
                });
            }
            let (name, value) = line.split_once(": ").ok_or(io::ErrorKind::InvalidData)?;
            headers.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Reads a whole reply to a request with this method.
    pub(crate) fn reply(&mut self, method: &str) -> io::Result<Reply> {
        let mut reply = self.head()?;
        if method == "HEAD" || matches!(reply.status, 204 | 304) {
            return Ok(reply);
        }
        if reply.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk()? {
                reply.body.extend_from_slice(&chunk);
            }
        } else {
            let length = reply
                .header("content-length")
                .and_then(|length| length.parse().ok());
            reply.body.resize(length.unwrap_or(0), 0);
            self.stream.read_exact(&mut reply.body)?;
        }
        Ok(reply)
    }

    /// Reads one chunk of a body; `None` at its end.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let length = self.line()?;
        let length = usize::from_str_radix(&length, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut chunk = vec![0; length];
        self.stream.read_exact(&mut chunk)?;
        self.line()?;
        Ok((length > 0).then_some(chunk))
    }

    pub(crate) fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Reads until the server closes.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = self.stream.read_to_end(&mut rest);
        String::from_utf8_lossy(&rest).into_owned()
    }
}
