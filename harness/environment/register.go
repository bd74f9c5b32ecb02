package environment

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"backout/harness/postgres"
)

// Register is what one run has started, on disk, so that Clean finds it after a crash. Whatever is started is added
// first. The file stays locked as long as the run lives; Clean leaves locked files alone.
type Register struct {
	mu    sync.Mutex
	file  *os.File
	token string
}

// Kinds of entries.
const (
	KindDirectory = "directory"
	KindProcess   = "process"

	KindContainers = "containers" // all that carries the run's token, see Cleaner

	// KindHandle is the socket by which a running drill is reached. It lies in the run's directory and goes with it.
	KindHandle = "handle"
)

// Entry is one thing that a run has started. A process that is about to be started has no number yet.
type Entry struct {
	Kind  string `json:"kind"`
	Name  string `json:"name,omitempty"`
	Path  string `json:"path,omitempty"`  // of a directory, a kubeconfig or a socket
	Of    string `json:"of,omitempty"`    // of a handle: the folder of the run's report
	PID   int    `json:"pid,omitempty"`   // of a process, which also leads a process group of this number
	Start uint64 `json:"start,omitempty"` // its start time in clock ticks since boot: field 22 of /proc/PID/stat
	Boot  string `json:"boot,omitempty"`  // /proc/sys/kernel/random/boot_id: numbers and ticks mean nothing after a reboot
	Done  bool   `json:"done,omitempty"`  // it is gone again

	Context string `json:"context,omitempty"` // of a namespace in a cluster that exists: how it is reached; Path is the kubeconfig then
	Server  string `json:"server,omitempty"`  // and where that led to
}

const (
	tokenFile   = ".backout-token"
	runPrefix   = "backout-"
	fileSuffix  = ".ndjson"
	registerDir = "backout/register"
)

// RegisterDir is where the register is unless said otherwise: below $XDG_STATE_HOME, or ~/.local/state.
// Source: XDG Base Directory Specification 0.8.
func RegisterDir() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, registerDir), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the register: %w; set XDG_STATE_HOME", err)
	}
	return filepath.Join(home, ".local/state", registerDir), nil
}

// OpenRegister begins the register of a new run in dir, which is made if it is absent.
func OpenRegister(dir string) (*Register, error) {
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open register: %w", err)
	}
	defer unlock() // until the new file has its own lock, or Clean could take it for a dead run's
	raw := make([]byte, 8)
	if _, err := rand.Read(raw); err != nil {
		return nil, fmt.Errorf("open register: %w", err)
	}
	token := hex.EncodeToString(raw)
	file, err := os.OpenFile(filepath.Join(dir, token+fileSuffix), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open register: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("open register: lock %s: %w", file.Name(), err), file.Close(), os.Remove(file.Name()))
	}
	return &Register{file: file, token: token}, nil
}

// Token is the name of the run.
func (r *Register) Token() string { return r.token }

// Add writes an entry. It is called before the thing exists, and for a process again when it has its number.
func (r *Register) Add(e Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("register %s %s: %w", e.Kind, e.Name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return fmt.Errorf("register %s %s%s: the run is over", e.Kind, e.Name, e.Path)
	}
	if _, err := r.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("register %s %s: %w", e.Kind, e.Name, err)
	}
	return nil
}

// Done says that the thing is gone.
func (r *Register) Done(e Entry) error {
	e.Done = true
	return r.Add(e)
}

// Directory makes the run's directory below parent, registered first, with a token in it by which Clean knows it. Other
// users may pass through it, not list it.
func (r *Register) Directory(parent string) (string, error) {
	parent, err := filepath.Abs(parent)
	if err != nil {
		return "", fmt.Errorf("make the run's directory: %w", err)
	}
	e := Entry{Kind: KindDirectory, Path: filepath.Join(parent, runPrefix+r.token)}
	if err := r.Add(e); err != nil {
		return "", err
	}
	if err := os.Mkdir(e.Path, 0o711); err != nil {
		return "", fmt.Errorf("make the run's directory: %w", err)
	}
	if err := os.Chmod(e.Path, 0o711); err != nil { // whatever the umask says
		return "", fmt.Errorf("make the run's directory: %w", err)
	}
	if err := os.WriteFile(filepath.Join(e.Path, tokenFile), []byte(r.token+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("make the run's directory: %w", err)
	}
	return e.Path, nil
}

// Remove ends the register when everything in it is gone. It may be called again.
func (r *Register) Remove() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return nil
	}
	err := errors.Join(os.Remove(r.file.Name()), r.file.Close()) // removed while locked
	r.file = nil
	if err != nil {
		return fmt.Errorf("remove the register: %w", err)
	}
	return nil
}

// Close leaves the register on disk for Clean: something of the run could not be removed.
func (r *Register) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}

// Process is the entry of a running process.
func Process(name string, pid int) (Entry, error) {
	st, err := readStat(pid)
	if err != nil {
		return Entry{}, fmt.Errorf("register %s: %w", name, err)
	}
	boot, err := bootID()
	if err != nil {
		return Entry{}, fmt.Errorf("register %s: %w", name, err)
	}
	return Entry{Kind: KindProcess, Name: name, PID: pid, Start: st.start, Boot: boot}, nil
}

// lockDir makes the register's directory and locks it.
func lockDir(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	// Held for microseconds only, so this may block.
	for {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", file.Name(), err), file.Close())
	}
	return func() { file.Close() }, nil
}

func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}

// stat is the part of /proc/PID/stat that identifies a process. Source of the format: proc(5).
type stat struct {
	state string
	group int
	start uint64
}

func readStat(pid int) (stat, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	// The name in parentheses may hold anything, so count from the last one. What follows starts with field 3.
	_, rest, _ := bytes.Cut(b[max(0, bytes.LastIndexByte(b, ')')):], []byte(" "))
	f := strings.Fields(string(rest))
	if len(f) < 20 {
		return stat{}, fmt.Errorf("/proc/%d/stat: at least 22 fields were expected, found %q", pid, b)
	}
	s := stat{state: f[0]}
	var err1, err2 error
	s.group, err1 = strconv.Atoi(f[2])
	s.start, err2 = strconv.ParseUint(f[19], 10, 64)
	return s, errors.Join(err1, err2)
}

// Clean removes what dead runs have left: processes that are still the ones that were registered (number, start time
// and boot), shared memory of their postmasters, and their directories. It touches no run that lives. It returns a line
// for each thing that it removed; what it could not remove stays registered and is in the error. Cleaners are by kind of
// entry; a run with an entry of another kind stays registered.
func Clean(ctx context.Context, dir string, cleaners map[string]Cleaner) ([]string, error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	dead, err := deadRuns(dir)
	if err != nil {
		return nil, fmt.Errorf("clean: %w", err)
	}
	var removed []string
	var errs []error
	for _, file := range dead {
		lines, err := cleanRun(ctx, file, cleaners)
		removed = append(removed, lines...)
		if err == nil {
			err = os.Remove(file.Name())
		}
		if err := errors.Join(err, file.Close()); err != nil {
			errs = append(errs, fmt.Errorf("clean %s: %w", file.Name(), err))
		}
	}
	return removed, errors.Join(errs...)
}

// eachRegister opens the register of each run, while no other run begins or ends and nobody else tries their locks.
func eachRegister(dir string, flag int, do func(file *os.File)) error {
	unlock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer unlock()
	names, err := files(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		file, err := os.OpenFile(name, flag, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue // that run ended in good order just now
		}
		if err != nil {
			return err
		}
		do(file)
	}
	return nil
}

// Registered are the tokens of all runs in the register, living or dead.
func Registered(dir string) (tokens []string, err error) {
	names, err := files(dir)
	for _, name := range names {
		tokens = append(tokens, tokenOf(name))
	}
	return tokens, err
}

// files are the registers of all runs in dir, one a run.
func files(dir string) ([]string, error) { return filepath.Glob(filepath.Join(dir, "*"+fileSuffix)) }

// tokenOf is the name of the run whose register a file is.
func tokenOf(file string) string { return strings.TrimSuffix(filepath.Base(file), fileSuffix) }

// deadRuns locks and returns the registers of runs that do not live.
func deadRuns(dir string) (dead []*os.File, err error) {
	err = eachRegister(dir, os.O_RDWR, func(file *os.File) {
		if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			file.Close() // it lives
			return
		}
		dead = append(dead, file)
	})
	return dead, err
}

// Living are the entries of a kind that runs have which live now. Nothing is changed.
func Living(dir, kind string) (all []Entry, err error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	err = eachRegister(dir, os.O_RDONLY, func(file *os.File) {
		defer file.Close()
		if unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil {
			return // its run is dead
		}
		for lines := bufio.NewScanner(file); lines.Scan(); {
			var e Entry
			if json.Unmarshal(lines.Bytes(), &e) == nil && e.Kind == kind && !e.Done {
				all = append(all, e)
			}
		}
	})
	return all, err
}

func cleanRun(ctx context.Context, file *os.File, cleaners map[string]Cleaner) (removed []string, err error) {
	token := tokenOf(file.Name())
	dirs, processes, others, err := readRegister(file)
	if err != nil {
		return nil, err
	}
	for _, e := range others {
		clean := cleaners[e.Kind]
		if clean == nil {
			return removed, fmt.Errorf("%s are registered, which this program cannot remove", e.Kind)
		}
		lines, err := clean(ctx, token, e)
		removed = append(removed, lines...)
		if err != nil {
			return removed, err
		}
	}
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	errs := []error{wake(dirs, token)}
	for _, e := range processes {
		if e.Boot != boot {
			continue
		}
		n, err := endProcess(ctx, e, dirs)
		errs = append(errs, err)
		if n > 0 {
			removed = append(removed, fmt.Sprintf("ended %s, process %d", e.Name, e.PID))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return removed, err // a directory is not taken from under what still runs in it
	}
	for _, e := range dirs {
		gone, err := removeRun(e.Path, token)
		errs = append(errs, err)
		if gone {
			removed = append(removed, "removed "+e.Path)
		}
	}
	return removed, errors.Join(errs...)
}

// Cleaner removes what a dead run of this token has left of one kind, by one of its entries, and returns a line for each thing
// that it removed.
type Cleaner func(ctx context.Context, token string, e Entry) (removed []string, err error)

// readRegister returns what was registered and is not done. The last line may be cut off: what it would have said was
// not started yet.
func readRegister(r io.Reader) (dirs, processes, others []Entry, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	running := map[int]Entry{}
	var order []int
	for lines.Scan() {
		var e Entry
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		switch {
		case e.Kind == KindDirectory && !e.Done:
			dirs = append(dirs, e)
		case e.Kind == KindProcess && e.Done:
			delete(running, e.PID)
		case e.Kind == KindProcess && e.PID > 1:
			running[e.PID] = e
			order = append(order, e.PID)
		case e.Kind != KindDirectory && e.Kind != KindProcess && e.Kind != KindHandle && !e.Done:
			others = append(others, e)
		}
	}
	for _, pid := range order {
		if e, is := running[pid]; is {
			processes = append(processes, e)
			delete(running, pid)
		}
	}
	return dirs, processes, others, lines.Err()
}

// endProcess ends a process if it is the one that was registered, and what is left of its group in the run's
// directories, and waits until they are gone. It returns how many there were.
func endProcess(ctx context.Context, e Entry, dirs []Entry) (int, error) {
	var fds []int
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	// A pidfd is opened before the process is looked at, so that the number cannot change hands in between.
	take := func(pid int, ours func(stat) bool) error {
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("end %s, process %d: %w", e.Name, pid, err)
		}
		if st, err := readStat(pid); err != nil || st.state == "Z" || !ours(st) {
			return errors.Join(unix.Close(fd))
		}
		fds = append(fds, fd)
		return nil
	}
	if err := take(e.PID, func(s stat) bool { return s.start == e.Start }); err != nil {
		return 0, err
	}
	for _, pid := range inside(dirs) {
		if pid == e.PID {
			continue
		}
		if err := take(pid, func(s stat) bool { return s.group == e.PID && s.start >= e.Start }); err != nil {
			return 0, err
		}
	}
	// A postmaster takes SIGQUIT as an immediate shutdown and removes its shared memory; others die of it as well.
	for _, try := range []struct {
		signal unix.Signal
		wait   time.Duration
	}{{unix.SIGQUIT, 5 * time.Second}, {unix.SIGKILL, 5 * time.Second}} {
		for _, fd := range fds {
			if err := unix.PidfdSendSignal(fd, try.signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return 0, fmt.Errorf("end %s, process %d: %w", e.Name, e.PID, err)
			}
		}
		if waitGone(ctx, fds, try.wait) {
			return len(fds), nil
		}
	}
	return 0, fmt.Errorf("end %s: process %d is still there after SIGKILL", e.Name, e.PID)
}

// wake lets processes go on that a drill had paused: one that is stopped ends nobody that it has started.
func wake(dirs []Entry, token string) error {
	ours := slices.DeleteFunc(slices.Clone(dirs), func(e Entry) bool { return filepath.Base(e.Path) != runPrefix+token })
	var errs []error
	for _, pid := range inside(ours) {
		if st, err := readStat(pid); err != nil || st.state != "T" {
			continue // it ended meanwhile, or goes on
		}
		if err := unix.Kill(pid, unix.SIGCONT); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("wake process %d: %w", pid, err))
		}
	}
	return errors.Join(errs...)
}

// inside lists the processes whose working directory is in one of the directories.
func inside(dirs []Entry) []int {
	var pids []int
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range all {
		cwd, err := os.Readlink(p + "/cwd")
		if err != nil {
			continue
		}
		cwd = strings.TrimSuffix(cwd, " (deleted)")
		for _, d := range dirs {
			if cwd == d.Path || strings.HasPrefix(cwd, d.Path+"/") {
				if pid, err := strconv.Atoi(filepath.Base(p)); err == nil {
					pids = append(pids, pid)
				}
				break
			}
		}
	}
	return pids
}

// waitGone waits until all processes have ended: a pidfd becomes readable then.
func waitGone(ctx context.Context, fds []int, limit time.Duration) bool {
	deadline := time.Now().Add(limit)
	for _, fd := range fds {
		for {
			if ctx.Err() != nil || time.Now().After(deadline) {
				return false
			}
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 50)
			if err != nil && !errors.Is(err, unix.EINTR) {
				return false
			}
			if n > 0 {
				break
			}
		}
	}
	return true
}

// removeRun removes a run's directory, and shared memory that its postmasters have left, if it is surely that run's.
func removeRun(path, token string) (bool, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if filepath.Base(path) != runPrefix+token || !filepath.IsAbs(path) || !info.IsDir() {
		return false, fmt.Errorf("%s is left alone: a directory named %s%s was expected", path, runPrefix, token)
	}
	text, err := os.ReadFile(filepath.Join(path, tokenFile))
	if errors.Is(err, fs.ErrNotExist) {
		// The run died between the two, or somebody else owns it by now: only an empty directory may go.
		if err := os.Remove(path); err != nil {
			return false, fmt.Errorf("%s is left alone: it has no %s: %w", path, tokenFile, err)
		}
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if strings.TrimSpace(string(text)) != token {
		return false, fmt.Errorf("%s is left alone: its %s says %q, %q was expected", path, tokenFile, bytes.TrimSpace(text), token)
	}
	if err := removeSharedBelow(path); err != nil {
		return false, err
	}
	if err := os.RemoveAll(path); err != nil {
		return false, err
	}
	return true, nil
}

// removeSharedBelow removes the shared memory of the clusters in a run's directory.
func removeSharedBelow(path string) error {
	var errs []error
	for _, pattern := range []string{"*/postmaster.pid", "*/*/postmaster.pid"} {
		files, _ := filepath.Glob(filepath.Join(path, pattern))
		for _, f := range files {
			errs = append(errs, postgres.RemoveShared(filepath.Dir(f)))
		}
	}
	return errors.Join(errs...)
}
