package process

import (
	"backout/harness/environment/control"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// The test program is also the service that the tests run and the client of its supervisor.
const roleVariable = "BACKOUT_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "service":
		serveTest()
	case "control":
		os.Exit(control.Client(os.Args[1:], os.Stdout, os.Stderr))
	case "harness":
		runHarness()
	}
	code := m.Run()
	if sharedCache != "" {
		os.RemoveAll(sharedCache)
	}
	os.Exit(code)
}

// serveTest is a small service: what it says of itself, and whether its databases answer.
func serveTest() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	http.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if _, err := os.Stat("broken"); err == nil {
			http.Error(w, "broken", http.StatusServiceUnavailable)
			return
		}
		for _, name := range []string{"DATABASE_URL", "REPLICA_URL", "READ_URL"} {
			if url := os.Getenv(name); url != "" {
				if _, err := count(r.Context(), url); err != nil {
					http.Error(w, name+": "+err.Error(), http.StatusServiceUnavailable)
					return
				}
			}
		}
	})
	http.HandleFunc("GET /environ", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(os.Environ())
	})
	http.HandleFunc("GET /release", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Release", os.Getenv("RELEASE"))
		fmt.Fprintf(w, "%s %d %d", os.Getenv("RELEASE"), os.Getpid(), os.Getuid())
	})
	http.HandleFunc("GET /count", func(w http.ResponseWriter, r *http.Request) {
		n, err := count(r.Context(), os.Getenv(r.URL.Query().Get("of")))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, n)
	})
	http.HandleFunc("POST /exit", func(http.ResponseWriter, *http.Request) { os.Exit(7) })
	fmt.Println("listening on", os.Getenv("ADDR"))
	server := &http.Server{Addr: os.Getenv("ADDR")}
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		server.Shutdown(grace)
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

func count(ctx context.Context, url string) (n int, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	return n, conn.QueryRow(ctx, "select count(*) from orders").Scan(&n)
}

// processesBelow lists processes whose working directory is below dir.
func processesBelow(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		if cwd, err := os.Readlink("/proc/" + e.Name() + "/cwd"); err == nil && strings.HasPrefix(cwd, dir+"/") {
			found = append(found, e.Name()+" in "+cwd)
		}
	}
	return found
}
