//! heapward's own server.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};

use rustix::fs::{CWD, Mode, chmodat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::sync::oneshot;

use super::{Routes, server};
use crate::error::{Error, Result};
use crate::profiler::Listen;

/// A listener that is bound, and the server on it once it is started.
pub(crate) struct Bound {
    listener: Option<Listener>,
    place: Place,
    stop: Option<oneshot::Sender<()>>,
    stopped: bool,
    /// The process that it was bound in. In a forked child there is no server to stop, and the file is the parent's.
    process: u32,
}

pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Place {
    Tcp(SocketAddr),
    /// The file, with its inode: what somebody else puts in its place is not ours to remove.
    Unix(PathBuf, u64),
}

impl Bound {
    /// Listens where `listen` says; `None` when it says nowhere.
    pub(crate) fn bind(listen: &Listen) -> Result<Option<Self>> {
        let refuse = |fix: &'static str| {
            move |error| Error::io(format!("listen (HEAPWARD_LISTEN) is {listen}, which cannot be bound: {fix}"), error)
        };
        let (listener, place) = match listen {
            Listen::Off => return Ok(None),
            Listen::Tcp(address) => {
                let bind = || {
                    let listener = TcpListener::bind(address)?;
                    listener.set_nonblocking(true)?;
                    let address = listener.local_addr()?;
                    Ok((Listener::Tcp(listener), Place::Tcp(address)))
                };
                bind().map_err(refuse("choose a free port (0 lets the system choose), or `off`"))?
            }
            Listen::Unix(path) => {
                let bind = || {
                    let listener = bind_socket_file(path)?;
                    listener.set_nonblocking(true)?;
                    let inode = std::fs::symlink_metadata(path)?.ino();
                    Ok((Listener::Unix(listener), Place::Unix(path.clone(), inode)))
                };
                bind().map_err(refuse("choose a path in a folder that this user may write to, or `off`"))?
            }
        };
        Ok(Some(Self { listener: Some(listener), place, stop: None, stopped: false, process: std::process::id() }))
    }

    /// The TCP address.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self.place {
            Place::Tcp(address) => Some(address),
            Place::Unix(..) => None,
        }
    }

    /// Where people reach it.
    pub(crate) fn describe(&self) -> String {
        match &self.place {
            Place::Tcp(address) => format!("http://{address}/"),
            Place::Unix(path, _) => format!("unix:{}", path.display()),
        }
    }

    /// What the server's thread is to run, and where it tells whether it could start. It serves until [`Bound::stop`].
    pub(crate) fn serve(
        &mut self,
        routes: Routes,
    ) -> Option<(impl FnOnce() + Send + 'static, Receiver<io::Result<()>>)> {
        let listener = self.listener.take()?;
        let (stop, stopped) = oneshot::channel::<()>();
        self.stop = Some(stop);
        let is_loopback = self.address().is_some_and(|address| address.ip().is_loopback());
        let routes = if is_loopback { routes.local_only() } else { routes };
        let (ready, started) = sync_channel(1);
        Some((move || server::run(listener, &routes, stopped, &ready), started))
    }

    /// The descriptor of the listener, until it is served.
    pub(crate) fn descriptor(&self) -> Option<RawFd> {
        self.listener.as_ref().map(|listener| match listener {
            Listener::Tcp(listener) => listener.as_raw_fd(),
            Listener::Unix(listener) => listener.as_raw_fd(),
        })
    }

    /// Takes the socket file away and tells the server to end. Once: what is there later is somebody else's.
    pub(crate) fn stop(&mut self) {
        if self.process != std::process::id() {
            // Dropping it would wake the parent's server.
            std::mem::forget(self.stop.take());
            return;
        }
        if !std::mem::replace(&mut self.stopped, true) {
            // While the listener holds the file's inode, so that no other file can have it.
            self.remove_socket_file();
        }
        if let Some(stop) = self.stop.take() {
            // Gone only when the server is.
            let _ = stop.send(());
        }
    }

    fn remove_socket_file(&self) {
        if let Place::Unix(path, inode) = &self.place
            && std::fs::symlink_metadata(path).is_ok_and(|found| found.ino() == *inode)
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::warn!("heapward: {} could not be removed: {error}", path.display());
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A socket file of mode 0600 from its first connection on: the mode is set between binding and listening.
fn bind_socket_file(path: &Path) -> io::Result<UnixListener> {
    make_room(path)?;
    let socket = new_socket()?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    let listen = || {
        chmodat(CWD, path, Mode::RUSR | Mode::WUSR, rustix::fs::AtFlags::empty())?;
        rustix::net::listen(&socket, 128)
    };
    if let Err(error) = listen() {
        // The file is ours, and nobody will remove it later.
        let _ = std::fs::remove_file(path);
        return Err(error.into());
    }
    Ok(socket.into())
}

/// Removes a socket file that a run left behind which was killed, and nothing else.
fn make_room(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there"));
        }
        Ok(_) => {}
    }
    // A socket that does not block: a listener that takes no connections must not hang the service at its start.
    match rustix::net::connect(&new_socket()?, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) => std::fs::remove_file(path),
        // Its backlog is full, so it has one.
        Ok(()) | Err(Errno::AGAIN) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another program listens there")),
        // It may be alive, and not ours to talk to.
        Err(error) => Err(error.into()),
    }
}

fn new_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}
