// Package live serves the page of drills while they run, and their reports afterwards. One rendering is shared by all who look;
// the drill waits for none of them.
package live

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"backout/harness/drill"
	"backout/harness/evidence"
	"backout/harness/report"
)

//go:embed live.js
var script []byte

const (
	mostViewers = 200              // of a server; more are told to come later
	writeWithin = 10 * time.Second // a viewer that takes nothing for so long is let go
	goWithin    = 5 * time.Second  // how long viewers have to fetch the report when the drill is over
	mostOrder   = 16 << 10         // bytes of an order
	indexFile   = "index.html"
	assets      = "/_live/"
)

// Server serves the drills of one set.
type Server struct {
	set    string // the folder of the set; that of the run when it is one alone
	alone  bool   // the set is one run
	guard  *guard
	listen net.Listener
	http   *http.Server
	usual  func(*evidence.Run) report.Usual
	render report.LivePages

	mu      sync.Mutex
	pages   []*page
	viewing int
	leaving map[string]int // viewers of a page who were told that its report is there and have not fetched it
	index   map[*viewer]bool
	list    frame // the list of drills, as all who look at it have it; its End: the set's own report is there

	stop context.CancelFunc
	work sync.WaitGroup
}

// Options of a server.
type Options struct {
	Addr  string // HOST:PORT; without a host 127.0.0.1
	Set   string // the folder of the set
	Alone bool   // the set is one run, whose folder it is
	// Earlier is a folder with the sets of earlier runs, from which it is learned how long the parts of a drill take; may be empty.
	Earlier string
}

// Start listens and serves until Close.
func Start(o Options) (*Server, error) {
	l, g, err := listen(o.Addr)
	if err != nil {
		return nil, err
	}
	pages, err := report.NewLivePages()
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{set: o.Set, alone: o.Alone, guard: g, listen: l, stop: stop, render: pages, leaving: map[string]int{}, index: map[*viewer]bool{},
		usual: func(run *evidence.Run) report.Usual { return usually(o.Earlier, o.Set, run) }}
	s.http = &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: log.New(io.Discard, "", 0), // it would hold addresses, and they the token
		BaseContext: func(net.Listener) context.Context {
			return ctx
		},
	}
	s.work.Go(func() { _ = s.http.Serve(l) }) // it ends with Close
	s.work.Go(func() { s.tick(ctx) })
	return s, nil
}

// URL is where a person finds the page. Where a token is needed it is in it.
func (s *Server) URL() string { return s.guard.url() }

// tick keeps the pages up to date, one after the other, in a goroutine that no drill waits for.
func (s *Server) tick(ctx context.Context) {
	t := time.NewTicker(every)
	defer t.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for _, p := range s.all() {
			p.tick()
		}
		if n%2 == 0 {
			s.tellIndex()
		}
	}
}

func (s *Server) all() []*page {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*page{}, s.pages...)
}

// Begun adds a drill that has begun. It is drill.Options.Begun, and returns at once.
func (s *Server) Begun(b drill.Begun) {
	p, err := newPage(b.Name, b.Title, b.Dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "backout: the live page cannot show this drill:", err)
		return
	}
	p.now, p.state, p.do, p.replay = b.Now, b.Handle.State, b.Handle.Do, b.Replay
	p.live.Add(evidence.Event{N: 1, Run: b.Run})
	b.Tap(p.queue.put)
	s.add(p)
	s.work.Go(func() { // it reads files
		u := s.usual(b.Run)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.live != nil {
			p.live.Usually(u)
		}
	})
}

func (s *Server) add(p *page) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.pages {
		if other.Name == p.Name {
			p.Name += "-again"
		}
	}
	s.pages = append(s.pages, p)
}

func (s *Server) page(name string) *page {
	for _, p := range s.all() {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Close ends the server. Who was looking has a few seconds to fetch the report.
func (s *Server) Close() error {
	for stop := time.Now().Add(goWithin); time.Now().Before(stop) && s.waited() > 0; {
		time.Sleep(20 * time.Millisecond)
	}
	s.stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	s.work.Wait()
	if err != nil {
		return fmt.Errorf("end the live page: %w", err)
	}
	return nil
}

// waited is how many viewers have not got their report yet.
func (s *Server) waited() (n int) {
	for _, p := range s.all() {
		p.mu.Lock()
		if p.over || p.ended {
			n += len(p.viewers)
		}
		p.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, left := range s.leaving {
		n += left
	}
	if s.list.End != "" {
		n += len(s.index)
	}
	return n
}

// Handler is the whole server.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.root)
	mux.HandleFunc("GET /events", s.indexEvents)
	mux.HandleFunc("GET "+assets+"live.js", static("text/javascript; charset=utf-8", script))
	mux.HandleFunc("GET "+assets+"live.css", static("text/css; charset=utf-8", []byte(report.LiveCSS())))
	mux.HandleFunc("GET /{run}/{$}", s.show)
	mux.HandleFunc("GET /{run}/events", s.events)
	mux.HandleFunc("POST /{run}/act", s.act)
	mux.HandleFunc("GET /{run}/act", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "an order is given with POST, by the page", http.StatusForbidden)
	})
	mux.HandleFunc("GET /{run}/{file}", s.file)
	mux.HandleFunc("GET /{file}", s.setFile)
	return s.guard.wrap(mux)
}

func static(kind string, text []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(text)
	}
}

// root is the index of the set, or the only drill.
func (s *Server) root(w http.ResponseWriter, r *http.Request) {
	all := s.all()
	if s.alone {
		if len(all) == 1 {
			http.Redirect(w, r, "/"+url.PathEscape(all[0].Name)+"/", http.StatusSeeOther)
			return
		}
	} else if s.indexThere() {
		s.serve(w, r, s.set, indexFile)
		return
	}
	list, err := s.render.Drills(s.drills())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	title := "Drills of " + filepath.Base(s.set)
	s.write(w, report.LiveShell{Title: title, Assets: assets, Parts: map[string]template.HTML{"drills": template.HTML(list)}}, s.render.Index)
}

func (s *Server) indexThere() bool {
	_, err := os.Stat(filepath.Join(s.set, indexFile))
	return err == nil
}

func (s *Server) drills() (all []report.LiveDrill) {
	for _, p := range s.all() {
		d := report.LiveDrill{Name: p.Title, Href: url.PathEscape(p.Name) + "/", Says: p.says()}
		all = append(all, d)
	}
	return all
}

// show is the page of a drill, or its report when it is over.
func (s *Server) show(w http.ResponseWriter, r *http.Request) {
	p := s.page(r.PathValue("run"))
	if p == nil {
		http.NotFound(w, r)
		return
	}
	parts, at, cannot := p.whole()
	if p.done() {
		http.Redirect(w, r, reportFile, http.StatusSeeOther)
		return
	}
	shell := report.LiveShell{Title: p.Title, Token: s.guard.orders, Parts: parts, At: at, Assets: assets, Orders: orderButtons(cannot)}
	if p.replay > 0 {
		shell.Replay = strconv.FormatFloat(p.replay, 'g', 4, 64)
	}
	s.write(w, shell, s.render.Page)
}

// events sends a viewer what is new, as long as it looks.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	p := s.page(r.PathValue("run"))
	if p == nil {
		http.NotFound(w, r)
		return
	}
	seen, _ := strconv.ParseInt(r.URL.Query().Get("since"), 10, 64) // else everything
	if last, err := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64); err == nil {
		seen = last // it was here before
	}
	v := p.join(seen)
	defer p.leave(v)
	s.stream(w, r, v, func() ([]byte, int64, bool) {
		data, at := p.since(v.seen)
		over := p.done()
		if over {
			s.leave(p.Name, 1)
		}
		return data, at, over
	})
}

func (s *Server) leave(name string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving[name] = max(s.leaving[name]+n, 0)
}

// stream writes server-sent events. Source of the format: HTML, 9.2.5.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, v *viewer, next func() (data []byte, at int64, last bool)) {
	s.mu.Lock()
	full := s.viewing >= mostViewers
	if !full {
		s.viewing++
	}
	s.mu.Unlock()
	if full {
		http.Error(w, fmt.Sprintf("%d people are watching already", mostViewers), http.StatusServiceUnavailable)
		return
	}
	defer func() { s.mu.Lock(); s.viewing--; s.mu.Unlock() }()
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	for {
		select {
		case <-r.Context().Done():
			return
		case <-v.wake:
		}
		data, at, last := next()
		_ = out.SetWriteDeadline(time.Now().Add(writeWithin)) // where it is not supported the test server waits
		if _, err := fmt.Fprintf(w, "id: %d\ndata: %s\n\n", at, data); err != nil {
			return
		}
		if err := out.Flush(); err != nil {
			return
		}
		v.seen = at
		if last {
			return
		}
	}
}

// indexEvents sends the list of drills.
func (s *Server) indexEvents(w http.ResponseWriter, r *http.Request) {
	v := &viewer{wake: make(chan struct{}, 1)}
	v.wake <- struct{}{}
	s.mu.Lock()
	first := len(s.index) == 0
	s.index[v] = true
	s.mu.Unlock()
	if first { // nobody kept the list up to date
		s.makeList()
	}
	defer func() { s.mu.Lock(); delete(s.index, v); s.mu.Unlock() }()
	s.stream(w, r, v, func() ([]byte, int64, bool) {
		s.mu.Lock()
		f := s.list
		s.mu.Unlock()
		return encode(f), f.At, f.End != ""
	})
}

// makeList makes the list of drills as of now, once for all who look.
func (s *Server) makeList() {
	var f frame
	if list, err := s.render.Drills(s.drills()); err == nil {
		f.Parts = []report.Part{{ID: "drills", HTML: list}}
	}
	if !s.alone && s.indexThere() {
		f.End = "./"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f.At = s.list.At + 1
	s.list = f
}

func (s *Server) tellIndex() {
	s.mu.Lock()
	looking := len(s.index)
	s.mu.Unlock()
	if looking == 0 {
		return
	}
	s.makeList()
	s.mu.Lock()
	defer s.mu.Unlock()
	for v := range s.index {
		select {
		case v.wake <- struct{}{}:
		default:
		}
	}
}

// act carries an order out. It is let in by the guard, and carries the page's token.
func (s *Server) act(w http.ResponseWriter, r *http.Request) {
	p := s.page(r.PathValue("run"))
	if p == nil {
		http.NotFound(w, r)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, mostOrder)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the order cannot be read: "+err.Error(), http.StatusBadRequest)
		return
	}
	if !same(r.PostForm.Get("token"), s.guard.orders) {
		http.Error(w, "the order does not come from a page of this server: load it again", http.StatusForbidden)
		return
	}
	answer := struct {
		Said   string            `json:"said,omitempty"`
		Error  string            `json:"error,omitempty"`
		Cannot map[string]string `json:"cannot"`
	}{}
	code := http.StatusOK
	if p.do == nil {
		answer.Error = "it cannot be steered from here"
	} else if said, err := p.do(drill.Order{Name: r.PostForm.Get("order"), By: r.PostForm.Get("by"), Why: r.PostForm.Get("why"), Nonce: r.PostForm.Get("nonce"), Token: r.PostForm.Get("proof")}); err != nil {
		answer.Error = err.Error()
	} else {
		answer.Said = said
	}
	if answer.Error != "" {
		code = http.StatusConflict
	}
	p.mu.Lock()
	answer.Cannot = p.cannot()
	p.rendered = time.Time{} // the next rendering is now
	p.mu.Unlock()
	p.tick()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer)
}

// file is a file of a run's report.
func (s *Server) file(w http.ResponseWriter, r *http.Request) {
	p := s.page(r.PathValue("run"))
	name := r.PathValue("file")
	known := name == evidence.File
	for _, f := range report.Formats() {
		known = known || f.File == name
	}
	if p == nil || !known {
		http.NotFound(w, r)
		return
	}
	s.serve(w, r, p.dir, name)
	if name == reportFile {
		s.leave(p.Name, -1)
	}
}

// setFile is a file of the set's report.
func (s *Server) setFile(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	for _, f := range report.SetFormats() {
		if f.File == name && !s.alone {
			s.serve(w, r, s.set, name)
			return
		}
	}
	http.NotFound(w, r)
}

// serve sends a file by one of the names that reports have.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, dir, name string) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Security-Policy", reportPolicy)
	w.Header().Del("Cross-Origin-Opener-Policy") // which cannot be had with a sandbox
	if !strings.HasSuffix(name, ".html") {       // to be read, or kept
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if name == evidence.File {
			w.Header().Set("Content-Type", "application/zstd")
		}
	}
	http.ServeContent(w, r, name, info.ModTime(), f)
}

func (s *Server) write(w http.ResponseWriter, shell report.LiveShell, page func(io.Writer, report.LiveShell) error) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	var b strings.Builder
	if err := page(&b, shell); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write([]byte(b.String()))
}
