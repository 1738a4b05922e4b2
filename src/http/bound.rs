//! heapward's own server.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, chmodat};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::sync::oneshot;

use super::Routes;
use crate::error::{Error, Result};
use crate::profiler::Listen;

/// A listener that is bound, and the server on it once it is started.
pub(crate) struct Bound {
    listener: Option<Listener>,
    place: Place,
    stop: Option<oneshot::Sender<()>>,
}

enum Listener {
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
        Ok(Some(Self { listener: Some(listener), place, stop: None }))
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

    /// What the server's thread is to run: serves until [`Bound::stop`].
    pub(crate) fn serve(&mut self, routes: Routes) -> Result<impl FnOnce() + Send + 'static> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| Error::io("starting the server's runtime", error))?;
        let (stop, stopped) = oneshot::channel::<()>();
        self.stop = Some(stop);
        let listener = self.listener.take();
        let is_loopback = self.address().is_some_and(|address| address.ip().is_loopback());
        let routes = if is_loopback { routes.local_only() } else { routes };
        Ok(move || {
            let serve = async move {
                let server = warp::serve(routes.whole_server());
                match listener {
                    Some(Listener::Tcp(listener)) => {
                        server.incoming(tokio::net::TcpListener::from_std(listener)?).run().await;
                    }
                    Some(Listener::Unix(listener)) => {
                        server.incoming(tokio::net::UnixListener::from_std(listener)?).run().await;
                    }
                    None => {}
                }
                io::Result::Ok(())
            };
            runtime.block_on(async move {
                tokio::select! {
                    // Dropped handle or word to stop: open connections end with the runtime.
                    _ = stopped => {}
                    served = serve => if let Err(error) = served {
                        tracing::error!("heapward: the server could not start: {error}");
                    },
                }
            });
        })
    }

    /// Tells the server to end and takes its socket file away.
    pub(crate) fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Gone only when the server is.
            let _ = stop.send(());
        }
        self.remove_socket_file();
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
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there"));
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another program listens there")),
            // Left by a run that was killed.
            Err(_) => std::fs::remove_file(path)?,
        },
    }
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    chmodat(CWD, path, Mode::RUSR | Mode::WUSR, rustix::fs::AtFlags::empty())?;
    rustix::net::listen(&socket, 128)?;
    Ok(socket.into())
}
