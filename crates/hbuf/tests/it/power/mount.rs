//! The model behind `/dev/fuse`.
//!
//! Files are opened for direct I/O, so each read and write of a process arrives here at once and as
//! it was made; the kernel holds nothing back. A sync takes a little while, as on a disk, and
//! covers what was written before it began.
//!
//! A mount never outlives its owner for long: dropping it detaches it whoever still holds a file,
//! and what a killed test process left is detached by the next one (see `stale`).

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, KernelConfig, LockOwner, MountOption, OpenFlags, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use rustix::mount::UnmountFlags;

use super::file::FileData;
use super::model::{Class, Fault, Model, Node, Stat, StatKind, Ticket};
use super::pages::PAGE_BYTES;
use super::stale;

/// How long the kernel may remember a name or an attribute. Only the kernel changes them.
const TTL: Duration = Duration::from_secs(60);
/// The largest write that reaches the model in one piece.
const WRITE_BYTES_MAX: u32 = 1 << 20;
/// Threads that serve the kernel; as many syncs can run at once.
const THREADS: usize = 8;
/// The attribute that a server asks for where it leaves out a sync (`cargo xtask mutate-sync`).
const LEFT_OUT: &str = "user.left_out_sync";
const FALLOC_KEEP_SIZE: i32 = 1;

/// A model that is mounted somewhere. Dropping it unmounts, also while processes hold files in it.
pub(crate) struct Mounted {
    model: Arc<Mutex<Model>>,
    /// Microseconds that a sync takes.
    sync_micros: Arc<AtomicU64>,
    at: PathBuf,
    session: Option<BackgroundSession>,
}

impl Mounted {
    /// Mounts a model; a sync takes `sync_time`.
    pub(crate) fn new(model: Model, at: &Path, sync_time: Duration) -> io::Result<Self> {
        stale::detach_all_once();
        let model = Arc::new(Mutex::new(model));
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName(stale::source_of_this_process()),
            MountOption::NoAtime,
            MountOption::DefaultPermissions,
        ];
        config.n_threads = Some(THREADS);
        let sync_micros = Arc::new(AtomicU64::new(sync_time.as_micros() as u64));
        let layer = Layer {
            model: Arc::clone(&model),
            sync_micros: Arc::clone(&sync_micros),
        };
        let session = fuser::spawn_mount(layer, at, &config)?;
        Ok(Self {
            model,
            sync_micros,
            at: at.to_owned(),
            session: Some(session),
        })
    }

    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets each sync take so long from now on.
    pub(crate) fn slow_down(&self, sync_time: Duration) {
        let micros = sync_time.as_micros() as u64;
        self.sync_micros.store(micros, Ordering::Relaxed);
    }

    /// Unmounts and waits for the end of the threads that served it. Every process that holds a
    /// file must have ended; if one has not, this fails and the mount is gone from its place all
    /// the same.
    pub(crate) fn unmount(mut self) -> io::Result<Arc<Mutex<Model>>> {
        rustix::mount::unmount(&self.at, UnmountFlags::empty())?;
        if let Some(session) = self.session.take() {
            match session.join() {
                // What a thread gets that asks for a request just when the mount has gone.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                ended => ended?,
            }
        }
        Ok(Arc::clone(&self.model))
    }
}

impl Drop for Mounted {
    /// No file may block this: a panic unwinds through here with the server still running.
    fn drop(&mut self) {
        if self.session.is_some() {
            stale::detach(&self.at);
        }
    }
}

struct Layer {
    model: Arc<Mutex<Model>>,
    sync_micros: Arc<AtomicU64>,
}

impl Layer {
    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, dir: INodeNo, name: &OsStr, node: Node, mode: u32, reply: ReplyEntry) {
        let made = self.model().make(dir.0, name, node, mode as u16);
        entry(made, reply);
    }

    /// Begins a sync, lets the time of a disk pass without the lock, and ends it.
    fn sync(
        &self,
        begin: impl FnOnce(&mut Model) -> Result<Ticket, Fault>,
        finish: impl FnOnce(&mut Model, Ticket) -> Result<(), Fault>,
        reply: ReplyEmpty,
    ) {
        let begun = begin(&mut self.model());
        let ended = begun.and_then(|ticket| {
            let micros = self.sync_micros.load(Ordering::Relaxed);
            std::thread::sleep(Duration::from_micros(micros));
            finish(&mut self.model(), ticket)
        });
        empty(ended, reply);
    }
}

fn errno(fault: Fault) -> Errno {
    match fault {
        Fault::Exists => Errno::EEXIST,
        Fault::Invalid => Errno::EINVAL,
        Fault::Io => Errno::EIO,
        Fault::IsDir => Errno::EISDIR,
        Fault::NoSpace => Errno::ENOSPC,
        Fault::NotDir => Errno::ENOTDIR,
        Fault::NotEmpty => Errno::ENOTEMPTY,
        Fault::NotFound => Errno::ENOENT,
    }
}

fn empty(result: Result<(), Fault>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(fault) => reply.error(errno(fault)),
    }
}

fn entry(result: Result<Stat, Fault>, reply: ReplyEntry) {
    match result {
        Ok(stat) => reply.entry(&TTL, &attributes(&stat), Generation(0)),
        Err(fault) => reply.error(errno(fault)),
    }
}

fn file_type(kind: StatKind) -> FileType {
    match kind {
        StatKind::Dir => FileType::Directory,
        StatKind::File => FileType::RegularFile,
        StatKind::Link => FileType::Symlink,
    }
}

fn attributes(stat: &Stat) -> FileAttr {
    FileAttr {
        ino: INodeNo(stat.ino),
        size: stat.len,
        blocks: stat.pages * (PAGE_BYTES / 512),
        atime: stat.modified,
        mtime: stat.modified,
        ctime: stat.modified,
        crtime: stat.modified,
        kind: file_type(stat.kind),
        perm: stat.mode,
        nlink: stat.links,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: PAGE_BYTES as u32,
        flags: 0,
    }
}

impl Filesystem for Layer {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        config
            .set_max_write(WRITE_BYTES_MAX)
            .map_err(|nearest| io::Error::other(format!("max_write: at most {nearest}")))?;
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.model().lookup(parent.0, name);
        entry(found, reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.model().stat(ino.0) {
            Ok(stat) => reply.attr(&TTL, &attributes(&stat)),
            Err(fault) => reply.error(errno(fault)),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut model = self.model();
        let changed = size
            .map_or(Ok(()), |len| model.set_len(ino.0, len))
            .and_then(|()| mode.map_or(Ok(()), |mode| model.set_mode(ino.0, mode as u16)))
            .and_then(|()| model.stat(ino.0));
        match changed {
            Ok(stat) => reply.attr(&TTL, &attributes(&stat)),
            Err(fault) => reply.error(errno(fault)),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.model().read_link(ino.0) {
            Ok(target) => reply.data(target.as_encoded_bytes()),
            Err(fault) => reply.error(errno(fault)),
        }
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        self.make(parent, name, Node::Dir, mode & !umask, reply);
    }

    fn symlink(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let node = Node::Link(target.as_os_str().to_owned());
        self.make(parent, name, node, 0o777, reply);
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let linked = self.model().link(ino.0, parent.0, name);
        entry(linked, reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = self.model().unlink(parent.0, name);
        empty(removed, reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = self.model().rmdir(parent.0, name);
        empty(removed, reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if flags.contains(RenameFlags::RENAME_EXCHANGE) {
            return reply.error(Errno::EINVAL);
        }
        let keep_target = flags.contains(RenameFlags::RENAME_NOREPLACE);
        let (from, to) = ((parent.0, name), (new_parent.0, new_name));
        let renamed = self.model().rename(from, to, keep_target);
        empty(renamed, reply);
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let mut model = self.model();
        let node = Node::File(FileData::default());
        let made = model
            .make(parent.0, name, node, (mode & !umask) as u16)
            .and_then(|stat| model.open(stat.ino).map(|()| stat));
        match made {
            Ok(stat) => reply.created(
                &TTL,
                &attributes(&stat),
                Generation(0),
                FileHandle(0),
                FopenFlags::FOPEN_DIRECT_IO,
            ),
            Err(fault) => reply.error(errno(fault)),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.model().open(ino.0) {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Err(fault) => reply.error(errno(fault)),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.model().read(ino.0, offset, u64::from(size));
        match read {
            Ok(bytes) => reply.data(&bytes),
            Err(fault) => reply.error(errno(fault)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.model().write(ino.0, offset, data) {
            Ok(written) => reply.written(written as u32),
            Err(fault) => reply.error(errno(fault)),
        }
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, _: u32, reply: ReplyXattr) {
        let told = if name == LEFT_OUT {
            self.model().left_out(ino.0)
        } else {
            Ok(())
        };
        reply.error(told.map_or_else(errno, |()| Errno::ENODATA));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.model().release(ino.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        if self.model().forgets(Class::Sync) {
            return empty(self.model().left_out(ino.0), reply);
        }
        self.sync(
            Model::begin_sync,
            |model, ticket| model.finish_sync(ino.0, ticket),
            reply,
        );
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        if self.model().forgets(Class::SyncDir) {
            return empty(self.model().left_out(ino.0), reply);
        }
        let finish = |model: &mut Model, ticket| model.finish_dir_sync(ino.0, ticket);
        self.sync(Model::begin_dir_sync, finish, reply);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.model().list(ino.0);
        match listed {
            Ok(entries) => {
                for (index, (name, stat)) in entries.iter().enumerate().skip(offset as usize) {
                    let next = index as u64 + 1;
                    if reply.add(INodeNo(stat.ino), next, file_type(stat.kind), name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(fault) => reply.error(errno(fault)),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let (used, free) = self.model().space();
        let page = PAGE_BYTES as u32;
        reply.statfs(used + free, free, free, 1 << 30, 1 << 30, page, 255, page);
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode & !FALLOC_KEEP_SIZE != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let keep_len = mode & FALLOC_KEEP_SIZE != 0;
        let reserved = self.model().reserve(ino.0, offset, length, keep_len);
        empty(reserved, reply);
    }
}
