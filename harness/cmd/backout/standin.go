package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
)

// standInCommand serves what the starter has in place of a service.
func standInCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "stand-in FILE",
		Short:  "Answer requests as a file says, in place of a service",
		Hidden: true,
		Long: `Answer requests on $ADDR as a file says: a line is METHOD PATH STATUS TEXT, and several lines of the same request are
answered in turn. GET /readyz is answered with 200, anything else with 404. X-Release is $RELEASE.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			handler, err := standIn(args[0], os.Getenv("RELEASE"))
			if err != nil {
				return err
			}
			server := &http.Server{Addr: os.Getenv("ADDR"), Handler: handler, ReadHeaderTimeout: 2 * time.Second}
			ended := make(chan error, 1)
			go func() { ended <- server.ListenAndServe() }()
			select {
			case err = <-ended:
			case <-c.Context().Done():
				within, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), 5*time.Second)
				defer cancel()
				err = server.Shutdown(within)
			}
			if errors.Is(err, http.ErrServerClosed) {
				return nil
			}
			return err
		},
	}
}

type answer struct {
	status int
	text   string
}

// standIn reads the answers.
func standIn(path, release string) (http.Handler, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("stand-in: %w", err)
	}
	defer file.Close()
	answers := map[string][]answer{"GET /readyz": {{http.StatusOK, "ready"}}}
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		words := strings.SplitN(strings.TrimSpace(lines.Text()), " ", 4)
		if words[0] == "" || strings.HasPrefix(words[0], "#") {
			continue
		}
		if len(words) < 3 {
			return nil, fmt.Errorf("%s:%d: expected METHOD PATH STATUS TEXT, found %q", path, n, lines.Text())
		}
		status, err := strconv.Atoi(words[2])
		if err != nil || status < 100 || status > 599 {
			return nil, fmt.Errorf("%s:%d: expected a status from 100 to 599, found %q", path, n, words[2])
		}
		text := ""
		if len(words) == 4 {
			text = words[3]
		}
		request := words[0] + " " + words[1]
		answers[request] = append(answers[request], answer{status, text})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("stand-in: %w", err)
	}
	var turn atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Release", release)
		of := answers[r.Method+" "+r.URL.Path]
		if of == nil {
			http.NotFound(w, r)
			return
		}
		a := of[int(turn.Add(1))%len(of)]
		w.WriteHeader(a.status)
		fmt.Fprintln(w, a.text)
	}), nil
}
