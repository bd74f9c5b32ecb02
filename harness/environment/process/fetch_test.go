package process

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"backout/harness/postgres"
)

// archive is a jar as Maven Central has it: a zip with a txz of PostgreSQL's programs, here scripts.
func archive(t *testing.T) []byte {
	t.Helper()
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	for name, text := range map[string]string{
		"bin/postgres": "#!/bin/sh\necho 'postgres (PostgreSQL) 15.13'\n",
		"bin/initdb":   "#!/bin/sh\necho 'initdb (PostgreSQL) 15.13'\n",
		"bin/pg_ctl":   "#!/bin/sh\necho 'there is no configuration file'\nexit 1\n",
		"share/LEGAL":  "terms",
	} {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var jar bytes.Buffer
	z := zip.NewWriter(&jar)
	f, err := z.Create("postgres-linux-x86_64.txz")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(xz(files.Bytes())); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return jar.Bytes()
}

// xz wraps data in an .xz stream without compressing it. Source: The .xz File Format 1.1.0; LZMA2's chunks of the kind
// "uncompressed", in the reference implementation's lzma2_decoder.c.
func xz(data []byte) []byte {
	sum := func(b []byte) []byte { return binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(b)) }
	number := func(b []byte, n uint64) []byte { return binary.AppendUvarint(b, n) }
	pad := func(b []byte) []byte { return append(b, make([]byte, (4-len(b)%4)%4)...) }
	flags := []byte{0, 1} // the check is a CRC32

	out := append([]byte{0xFD, '7', 'z', 'X', 'Z', 0}, flags...)
	out = append(out, sum(flags)...)

	head := pad([]byte{0, 0, 0x21, 1, 0x16, 0}) // filter LZMA2 with a dictionary of 8 MiB
	for len(head) < 8 {
		head = append(head, 0)
	}
	head[0] = byte((len(head)+4)/4 - 1)
	block := append(head, sum(head)...)
	for first, rest := true, data; len(rest) > 0; first = false {
		n := min(len(rest), 1<<16)
		control := byte(2)
		if first {
			control = 1 // resets the dictionary
		}
		block = append(block, control, byte((n-1)>>8), byte(n-1))
		block = append(block, rest[:n]...)
		rest = rest[n:]
	}
	block = append(block, 0)
	unpadded := uint64(len(block) + 4)
	block = append(pad(block), sum(data)...)
	out = append(out, block...)

	index := number(number([]byte{0, 1}, unpadded), uint64(len(data)))
	index = pad(index)
	index = append(index, sum(index)...)
	out = append(out, index...)

	foot := append(binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1)), flags...)
	out = append(out, sum(foot)...)
	out = append(out, foot...)
	return append(out, 'Y', 'Z')
}

func TestProgramsAreFetchedOnceAndAnnounced(t *testing.T) {
	jar := archive(t)
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/io/zonky/test/postgres/embedded-postgres-binaries-linux-") {
			http.NotFound(w, r)
			return
		}
		if strings.HasSuffix(r.URL.Path, ".sha256") {
			sum := sha256.Sum256(jar)
			w.Write([]byte(hex.EncodeToString(sum[:])))
			return
		}
		asked.Add(1)
		w.Write(jar)
	}))
	defer server.Close()
	var said []string
	o := Options{Cache: folder(t), Temp: folder(t), Register: t.TempDir(), Fetch: true, Repository: server.URL, Progress: func(s string) { said = append(said, s) }}
	before, _ := filepath.Glob(filepath.Join(os.TempDir(), "embedded_postgres_log*"))
	for range 2 {
		m := fetching(t, o)
		bin, installed, err := m.fetch(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if bin.Version != "15.13" || !strings.HasPrefix(installed, o.Cache) {
			t.Errorf("found %+v, installed in %s", bin, installed)
		}
		cmd, err := bin.Command(context.Background(), "postgres", "--version")
		if err != nil {
			t.Fatal(err)
		}
		if out, err := cmd.CombinedOutput(); err != nil { // as whoever PostgreSQL runs as
			t.Errorf("%v: %s", err, out)
		}
	}
	if asked.Load() != 1 {
		t.Errorf("the archive was fetched %d times", asked.Load())
	}
	if len(said) != 1 || !strings.Contains(said[0], "no PostgreSQL on this machine: fetching 15.13.0 from "+server.URL) {
		t.Errorf("it said %q", said)
	}
	after, _ := filepath.Glob(filepath.Join(os.TempDir(), "embedded_postgres_log*"))
	if len(after) > len(before) {
		t.Errorf("left behind: %v", after)
	}
	if left, _ := filepath.Glob(filepath.Join(o.Cache, ".part-*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// fetching is an environment that has looked for PostgreSQL in vain.
func fetching(t *testing.T, o Options) *machine {
	t.Helper()
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	m := e.(*machine)
	t.Cleanup(func() {
		if err := m.Destroy(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := m.prepare(); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAnArchiveThatWasChangedIsRefused(t *testing.T) {
	jar := archive(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".sha256") {
			w.Write([]byte(strings.Repeat("0", 64)))
			return
		}
		w.Write(jar)
	}))
	defer server.Close()
	m := fetching(t, Options{Cache: folder(t), Temp: folder(t), Register: t.TempDir(), Fetch: true, Repository: server.URL})
	if _, _, err := m.fetch(context.Background()); err == nil || !strings.Contains(err.Error(), "checksums do not match") {
		t.Errorf("error %v", err)
	}
}

func TestWithoutProgramsTheErrorSaysWhatToDo(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close() // nobody listens
	for name, c := range map[string]struct {
		fetch bool
		want  []string
	}{
		"not reached": {true, []string{"it could not be fetched", server.URL, "apt-get install postgresql"}},
		"forbidden":   {false, []string{"nothing here", "fetching it is switched off"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := fetching(t, Options{Cache: folder(t), Temp: folder(t), Register: t.TempDir(), Fetch: c.fetch, Repository: server.URL})
			m.find = func(string) (postgres.Binaries, error) {
				return postgres.Binaries{}, fmt.Errorf("%w: nothing here", postgres.ErrNoPostgres)
			}
			err := m.findPostgres(context.Background())
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, expected %q in it", err, want)
				}
			}
			if !errors.Is(err, postgres.ErrNoPostgres) {
				t.Errorf("error %v does not wrap ErrNoPostgres", err)
			}
		})
	}
}

func TestWithoutADatabaseNobodyNeedsTheirPrograms(t *testing.T) {
	need := sample(t, 10)
	need.Dependants, need.Releases, need.Streaming, need.Logical = nil, nil, false, false
	need.Service.Database, need.Good.MigrateTo = nil, 0
	for _, name := range []string{"DATABASE_URL", "REPLICA_URL", "OTHER"} {
		delete(need.Service.Process.Env, name)
	}
	need.Service.Process.Env["OTHER"] = "{data}"
	e, err := New(options(t))
	if err != nil {
		t.Fatal(err)
	}
	m := e.(*machine)
	t.Cleanup(func() {
		if err := m.Destroy(context.Background()); err != nil {
			t.Error(err)
		}
	})
	m.find = func(string) (postgres.Binaries, error) { return postgres.Binaries{}, postgres.ErrNoPostgres }
	if err := m.Provision(context.Background(), need); err != nil {
		t.Fatal(err)
	}
	if n, v := m.Nodes(), m.Variables(); len(n) != 0 || len(v) != 0 || len(m.Instances()) != 3 {
		t.Errorf("nodes %v, variables %v, instances %v", n, v, m.Instances())
	}
}
