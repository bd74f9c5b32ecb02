// Package postgres is a PostgreSQL cluster as drills see it: its nodes, the quiet point, schema, fingerprints and the
// other questions that the audit asks of the data.
package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"backout/harness/service"
)

// Superuser is the role that Init makes and that the harness uses.
const Superuser = "backout"

// Defaults suit a cluster that is thrown away after the drill: nothing survives a crash of the machine, everything
// else behaves as in production. Start.Settings are laid over them.
func Defaults() map[string]string {
	return map[string]string{
		"listen_addresses":        "127.0.0.1",
		"unix_socket_directories": "",
		"fsync":                   "off",
		"full_page_writes":        "off",
		"synchronous_commit":      "on",
		"wal_level":               "logical",
		"max_connections":         "100",
		"shared_buffers":          "96MB",
		"jit":                     "off",
		"autovacuum":              "on",
		"logging_collector":       "off",
		"log_destination":         "stderr",
		"log_line_prefix":         "%m [%p] %a ",
		"log_timezone":            "UTC",
		"timezone":                "UTC",
		"lc_messages":             "C",
	}
}

// Init makes a cluster in dir, which must be absent or empty, with the superuser Superuser and SCRAM passwords. As
// root it runs as an unprivileged user, who then owns dir.
func (b Binaries) Init(ctx context.Context, dir, password string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("init cluster: %w", err)
	}
	if err := b.Own(dir); err != nil {
		return fmt.Errorf("init cluster: %w", err)
	}
	// Beside the directory, since initdb wants that empty, and since the user can surely reach it there.
	file, err := os.CreateTemp(filepath.Dir(dir), "password-")
	if err != nil {
		return fmt.Errorf("init cluster: %w", err)
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(password + "\n")
	if err := errors.Join(err, file.Close(), b.Own(file.Name())); err != nil {
		return fmt.Errorf("init cluster: %w", err)
	}
	cmd, err := b.Command(ctx, "initdb", "--pgdata="+dir, "--username="+Superuser, "--auth=scram-sha-256",
		"--pwfile="+file.Name(), "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	if err != nil {
		return fmt.Errorf("init cluster: %w", err)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("init cluster in %s: %s: %w\n%s", dir, cmd, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Start says how to start a server.
type Start struct {
	Dir      string
	Port     int                 // on 127.0.0.1; 0: a free one, see Server.Port
	Settings map[string]string   // of postgresql.conf, over those for throw-away clusters
	LogFile  string              // what the server writes is appended here
	Started  func(pid int) error // called right after the fork; an error stops the server again; may be nil
	Env      []string            // added to the environment of the server; may be nil
}

// Server is a running postmaster.
type Server struct {
	dir  string
	port int
	pid  int
	log  string
	done chan struct{}
	err  error // of Wait; set before done is closed
}

// Start runs `postgres` itself and returns when it accepts connections, which for a directory with standby.signal
// means a consistent hot standby. The server dies with this process: it gets SIGQUIT, an immediate shutdown. When the
// context ends first, the server is killed and the error carries the last lines of its log.
func (b Binaries) Start(ctx context.Context, s Start) (*Server, error) {
	// Another process may take a free port before the server does, so a port of our own choice is chosen again.
	for try := 1; ; try++ {
		srv, err := b.start(ctx, s)
		if err == nil || s.Port != 0 || try == 5 || !errors.Is(err, errPortTaken) {
			return srv, err
		}
	}
}

var errPortTaken = errors.New("the port is taken")

func (b Binaries) start(ctx context.Context, s Start) (*Server, error) {
	srv := &Server{dir: s.Dir, port: s.Port, log: s.LogFile, done: make(chan struct{})}
	if srv.port == 0 {
		port, err := freePort()
		if err != nil {
			return nil, fmt.Errorf("start postgres: %w", err)
		}
		srv.port = port
	}
	if err := b.Own(s.Dir); err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	conf, err := b.configure(s, srv.port)
	if err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	log, err := os.OpenFile(s.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	defer log.Close()
	begin := int64(0)
	if info, err := log.Stat(); err == nil {
		begin = info.Size()
	}
	// Not CommandContext: the server outlives the call.
	cmd, err := b.Command(context.Background(), "postgres", "-D", s.Dir, "-c", "config_file="+conf)
	if err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	cmd.Env = append(cmd.Env, s.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr.Setpgid = true // Ctrl-C is for the harness, which then stops the server in its order
	cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT

	// Pdeathsig follows the thread that forked, not the process. So the goroutine that waits for the server keeps its
	// thread to itself: the thread lives exactly as long as the server, or as long as this process.
	forked := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		forked <- err
		if err == nil {
			srv.err = cmd.Wait()
			close(srv.done)
		}
	}()
	if err := <-forked; err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	srv.pid = cmd.Process.Pid

	err = nil
	if s.Started != nil {
		err = s.Started(srv.pid)
	}
	if err == nil {
		err = srv.ready(ctx)
	}
	if err != nil {
		// The context may be over already; the server must go all the same.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		tail := Tail(s.LogFile, begin, 20)
		if strings.Contains(tail, "could not bind") {
			err = fmt.Errorf("%w: %w", errPortTaken, err)
		}
		return nil, fmt.Errorf("start postgres in %s on port %d: %w\n%s", s.Dir, srv.port, errors.Join(err, srv.Kill(clean)), tail)
	}
	return srv, nil
}

// configure writes the settings into a file of its own, which reads postgresql.conf first: a copied directory keeps
// nothing of where it was copied from, and no password is in the arguments of a process.
func (b Binaries) configure(s Start, port int) (path string, err error) {
	all := Defaults()
	maps.Copy(all, s.Settings)
	all["port"] = strconv.Itoa(port)
	text, err := Conf(all)
	if err != nil {
		return "", err
	}
	path = filepath.Join(s.Dir, "backout.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", err
	}
	return path, b.Own(path)
}

// Conf is a configuration file that reads postgresql.conf first.
func Conf(settings map[string]string) (string, error) {
	text := "include 'postgresql.conf'\n"
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		v := settings[k]
		if strings.ContainsAny(k+v, "\n\r\x00") {
			return "", fmt.Errorf("setting %s: a value of one line was expected, found %q", k, v)
		}
		text += k + " = '" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(v) + "'\n"
	}
	return text, nil
}

// ready waits until the server answers a start-up message with anything but "starting up".
func (s *Server) ready(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := s.answers(ctx)
		if err == nil {
			return nil
		}
		end, limited := ctx.Deadline()
		cut := ctx.Err() != nil || limited && !time.Now().Before(end) // the network's time-out comes before the context's error
		if last == nil || !cut {
			last = err
		}
		select {
		case <-s.done:
			return fmt.Errorf("it ended before it accepted connections: %w", s.ended())
		case <-ctx.Done():
			return fmt.Errorf("waiting for it to accept connections: %w; last: %w", ctx.Err(), last)
		case <-tick.C:
		}
	}
}

func (s *Server) ended() error {
	if s.err == nil {
		return errors.New("exit status 0")
	}
	return s.err
}

// answers tells whether this very server accepts connections. Who listens on the port is asked of postmaster.pid
// first, since a stranger may have taken it. The rest is what pg_isready does: everything but the error 57P03,
// cannot_connect_now, means that connections are accepted.
func (s *Server) answers(ctx context.Context) error {
	p, err := readPostmaster(s.dir)
	if err != nil {
		return err
	}
	if p.pid != s.pid || p.listen == "" {
		return errors.New("it does not listen yet")
	}
	d := net.Dialer{Timeout: time.Second, Control: service.Here}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	fe := pgproto3.NewFrontend(conn, conn)
	fe.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30,
		Parameters: map[string]string{"user": Superuser, "database": "postgres", "application_name": Application}})
	if err := fe.Flush(); err != nil {
		return err
	}
	m, err := fe.Receive()
	if err != nil {
		return err
	}
	if e, is := m.(*pgproto3.ErrorResponse); is && e.Code == "57P03" {
		return errors.New(e.Message)
	}
	return nil
}

// PID of the postmaster.
func (s *Server) PID() int { return s.pid }

// Port on 127.0.0.1.
func (s *Server) Port() int { return s.port }

// Dir is the data directory.
func (s *Server) Dir() string { return s.dir }

// URL of a database for the superuser.
func (s *Server) URL(password, database string) string {
	return URL("127.0.0.1", s.port, Superuser, password, database)
}

// Wait is closed when the server has ended, for whatever reason.
func (s *Server) Wait() <-chan struct{} { return s.done }

// Stop shuts the server down fast: sessions are ended, nothing is lost, replicas get all of it. When the context ends
// first, the server is killed and an error says so.
func (s *Server) Stop(ctx context.Context) error {
	if err := s.signal(syscall.SIGINT); err != nil {
		return fmt.Errorf("stop postgres in %s: %w", s.dir, err)
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return fmt.Errorf("stop postgres in %s: it did not end: %w", s.dir, errors.Join(ctx.Err(), s.Kill(clean)))
}

// Kill ends the server as a crash would: an immediate shutdown, after five seconds SIGKILL. What a killed postmaster
// leaves in shared memory is removed. The directory can be started again.
func (s *Server) Kill(ctx context.Context) error {
	select {
	case <-s.done: // ended before, maybe by a SIGKILL of somebody else
		return RemoveShared(s.dir)
	default:
	}
	if err := s.signal(syscall.SIGQUIT); err != nil {
		return fmt.Errorf("kill postgres in %s: %w", s.dir, err)
	}
	grace := time.NewTimer(5 * time.Second)
	defer grace.Stop()
	select {
	case <-s.done:
		return RemoveShared(s.dir)
	case <-grace.C:
	case <-ctx.Done():
	}
	if err := s.signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill postgres in %s: %w", s.dir, err)
	}
	select {
	case <-s.done: // a SIGKILL needs no time worth a limit, and the leftovers can be removed only after it
	case <-time.After(5 * time.Second):
		return fmt.Errorf("kill postgres in %s: process %d is still there 5 s after SIGKILL", s.dir, s.pid)
	}
	return RemoveShared(s.dir)
}

func (s *Server) signal(sig syscall.Signal) error {
	select {
	case <-s.done: // its number may belong to somebody else by now
		return nil
	default:
	}
	if err := syscall.Kill(s.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("%s to process %d: %w", sig, s.pid, err)
	}
	return nil
}

// Command is one of PostgreSQL's programs, run as the unprivileged user when we are root. Its environment has no
// variable that would lead it elsewhere, and its messages are English.
func (b Binaries) Command(ctx context.Context, program string, args ...string) (*exec.Cmd, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(b.Dir, program), args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PG") && !strings.HasPrefix(v, "LC_") && !strings.HasPrefix(v, "LANG") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "LC_ALL=C")
	cmd.Dir = "/" // ours may be closed to the other user
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	u, err := unprivileged()
	if err != nil {
		return nil, err
	}
	if u != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(u.uid), Gid: uint32(u.gid)}
	}
	return cmd, nil
}

// Own gives path and all below it to the user whom PostgreSQL runs as, when we are root, and tells when that user
// cannot get there because a folder above is closed. For other users it does nothing.
func (b Binaries) Own(path string) error {
	u, err := unprivileged()
	if err != nil || u == nil {
		return err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	for dir := filepath.Dir(abs); ; dir = filepath.Dir(dir) {
		if err := u.mayEnter(dir); err != nil {
			return err
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	return filepath.WalkDir(abs, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if st, is := info.Sys().(*syscall.Stat_t); is && int(st.Uid) == u.uid {
			return nil
		}
		return os.Lchown(p, u.uid, u.gid)
	})
}

// Tail is the last lines of a log from an offset on, without those that only say that somebody asked too early.
func Tail(path string, from int64, lines int) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return err.Error()
	}
	var last []string
	all := bufio.NewScanner(f)
	for all.Scan() {
		if strings.HasSuffix(all.Text(), tooEarly) {
			continue
		}
		if last = append(last, all.Text()); len(last) > lines {
			last = last[1:]
		}
	}
	if err := all.Err(); err != nil {
		last = append(last, err.Error())
	}
	return strings.Join(last, "\n")
}

// tooEarly is the server's answer while it starts: the error 57P03, cannot_connect_now.
const tooEarly = "FATAL:  the database system is starting up"

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
