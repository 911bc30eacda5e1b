//! The files of a directory at a revision of git, as the revision stores them.
//!
//! Objects are read one by one, not checked out or archived: no attribute (`export-ignore`, filters, line endings) leaves out or changes
//! a file. Links are written as links, so one that leads out of the directory is the loader's fault to report. A submodule
//! is an error: what it held is not in the repository.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::thread;

/// Bytes of all files of a revision.
const MAX_BYTES: u64 = 1 << 30;

/// A directory at a revision, in a temporary place that goes away with this value.
#[derive(Debug)]
pub struct Revision {
    dir: PathBuf,
}

/// A file of a revision.
struct StoredFile {
    path: PathBuf,
    id: String,
    bytes: u64,
    is_link: bool,
}

impl Revision {
    /// Writes the files of `dir` at a revision to a temporary place, with the program `git`.
    ///
    /// # Errors
    ///
    /// If `dir` is in no repository, the revision does not exist, has no such directory or a submodule in it, or a file
    /// cannot be written.
    pub fn checkout(dir: &Path, revision: &str) -> Result<Self, String> {
        let commit = format!("{revision}^{{commit}}");
        let resolve = ["rev-parse", "--verify", "--quiet", "--end-of-options"];
        let id = git(dir, &[resolve.as_slice(), &[commit.as_str()]].concat())
            .map_err(|said| format!("there is no revision `{revision}`: {said}"))?;
        let lacks = |said| format!("`{revision}` has no such directory: {said}");
        // The directory and nothing beside it.
        let tree = format!("{}:./", String::from_utf8_lossy(&id).trim());
        let tree = git(dir, &["rev-parse", "--verify", &tree]).map_err(lacks)?;
        let tree = String::from_utf8_lossy(&tree).trim().to_owned();
        let list = ["ls-tree", "-r", "-z", "-l", "--full-tree", &tree];
        let files = stored_files(&git(dir, &list).map_err(lacks)?)
            .map_err(|said| format!("`{revision}`: {said}"))?;
        let bytes = files.iter().map(|it| it.bytes);
        if bytes.fold(0, u64::saturating_add) > MAX_BYTES {
            return Err(format!("`{revision}` is larger than {MAX_BYTES} bytes"));
        }
        let found = Self {
            dir: temporary().map_err(|error| format!("no temporary directory: {error}"))?,
        };
        write(dir, &files, &found.dir)
            .map_err(|error| format!("`{revision}` cannot be written out: {error}"))?;
        Ok(found)
    }

    /// Where the files are.
    pub fn path(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Revision {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Reads what `ls-tree -r -z -l` lists.
fn stored_files(listed: &[u8]) -> Result<Vec<StoredFile>, String> {
    let lines = listed.split(|byte| *byte == 0);
    let lines = lines.filter(|line| !line.is_empty());
    lines.map(stored_file).collect()
}

/// `100644 blob ID SIZE<tab>PATH`.
fn stored_file(line: &[u8]) -> Result<StoredFile, String> {
    let unknown = || {
        let line = String::from_utf8_lossy(line);
        format!("`git` lists what is not understood: `{line}`")
    };
    let tab = line.iter().position(|byte| *byte == b'\t');
    let (about, path) = line.split_at(tab.ok_or_else(unknown)?);
    let path = Path::new(OsStr::from_bytes(path.get(1..).ok_or_else(unknown)?));
    let about = std::str::from_utf8(about).map_err(|_| unknown())?;
    let mut parts = about.split_ascii_whitespace();
    let (mode, kind) = (parts.next(), parts.next());
    let (id, bytes) = (parts.next(), parts.next());
    if kind == Some("commit") {
        let path = path.display();
        return Err(format!(
            "`{path}` is a submodule, and what it held is not in this repository: compare with a directory instead"
        ));
    }
    let is_plain = |part| matches!(part, Component::Normal(_));
    if kind != Some("blob") || !path.components().all(is_plain) {
        return Err(unknown());
    }
    Ok(StoredFile {
        path: path.to_owned(),
        id: id.ok_or_else(unknown)?.to_owned(),
        bytes: bytes.and_then(|it| it.parse().ok()).ok_or_else(unknown)?,
        is_link: mode == Some("120000"),
    })
}

/// Writes files of the repository that `dir` is in to an empty directory.
fn write(dir: &Path, files: &[StoredFile], to: &Path) -> io::Result<()> {
    let mut child = command(dir, &["cat-file", "--batch"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let written = match (child.stdin.take(), child.stdout.take()) {
        (Some(asked), Some(answered)) => thread::scope(|scope| {
            // Besides, since neither of two full pipes empties itself.
            scope.spawn(move || ask(asked, files));
            write_each(BufReader::new(answered), files, to)
        }),
        _ => Err(io::ErrorKind::BrokenPipe.into()),
    };
    // After an error it may still be writing.
    let _ = child.kill();
    let _ = child.wait();
    written
}

/// Asks for each file; if `git` ended, the reader tells.
fn ask(to: ChildStdin, files: &[StoredFile]) {
    let mut to = io::BufWriter::new(to);
    for file in files {
        if writeln!(to, "{}", file.id).is_err() {
            return;
        }
    }
    let _ = to.flush();
}

fn write_each(mut from: impl BufRead, files: &[StoredFile], to: &Path) -> io::Result<()> {
    let mut links = Vec::new();
    for file in files {
        let mut header = String::new();
        from.read_line(&mut header)?;
        if header.trim_end() != format!("{} blob {}", file.id, file.bytes) {
            let path = file.path.display();
            let said = format!("`{path}` is not in the repository: {}", header.trim_end());
            return Err(io::Error::other(said));
        }
        let path = to.join(&file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut content = (&mut from).take(file.bytes);
        let copied = match file.is_link {
            true => {
                let mut target = Vec::new();
                let copied = content.read_to_end(&mut target)? as u64;
                links.push((target, path));
                copied
            }
            false => io::copy(&mut content, &mut File::create_new(&path)?)?,
        };
        let mut end = [0];
        from.read_exact(&mut end)?;
        if copied != file.bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    // Last, so that nothing is written through a link.
    for (target, path) in links {
        symlink(OsStr::from_bytes(&target), path)?;
    }
    Ok(())
}

/// A new directory that nobody else can read.
fn temporary() -> io::Result<PathBuf> {
    let name = format!("callgate-revision-{}", uuid::Uuid::now_v7());
    let dir = std::env::temp_dir().join(name);
    fs::DirBuilder::new().mode(0o700).create(&dir)?;
    Ok(dir)
}

fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.arg("--no-replace-objects").arg("-C").arg(dir);
    command.args(arguments);
    command
}

fn git(dir: &Path, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let ran = command(dir, arguments).output();
    let ran = ran.map_err(|error| format!("`git` cannot be run: {error}"))?;
    match ran.status.success() {
        true => Ok(ran.stdout),
        false => Err(String::from_utf8_lossy(&ran.stderr).trim().to_owned()),
    }
}
