package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// HookDir is the folder in a run's directory through which people answer who reach neither its terminal nor its page, such as by a
// folder that machines share, or a job that writes there. While something is asked, Asked stands in it; whoever answers puts an
// order there whose name ends in .order; what became of it stands beside it in .said.
const HookDir = "approvals"

const (
	askedFile = "asked.json"
	orderEnd  = ".order"
	saidEnd   = ".said"
	hookEvery = 200 * time.Millisecond
)

// hook looks for orders in the folder until the context is done. Only answers to what is asked are taken.
func (h *Handle) hook(ctx context.Context, dir string) {
	nonce := ""
	for tick := time.NewTicker(hookEvery); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			_ = os.Remove(filepath.Join(dir, askedFile)) // nothing is asked any more
			return
		case <-tick.C:
		}
		asked := h.State().Asked
		if asked.Nonce != nonce {
			nonce = asked.Nonce
			if err := show(dir, asked); err != nil {
				h.tell(fmt.Sprintf("answers cannot be given in %s: %v", dir, err))
			}
		}
		if nonce == "" {
			continue
		}
		orders, err := filepath.Glob(filepath.Join(dir, "*"+orderEnd))
		if err != nil {
			return
		}
		for _, path := range orders {
			h.takeFile(path)
		}
	}
}

// show writes what is asked, or takes it away.
func show(dir string, asked Asked) error {
	path := filepath.Join(dir, askedFile)
	if asked.Nonce == "" {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return put(path, asked)
}

// takeFile carries out one order, whose file it takes away, so that a token in it stays no longer than needed.
func (h *Handle) takeFile(path string) {
	text, err := os.ReadFile(path)
	if err := os.Remove(path); err != nil {
		return // another one took it
	}
	said := ""
	if err == nil {
		said, err = h.answer(text, false)
	}
	a := answer{Said: said}
	if err != nil {
		a.Error = h.clean(err.Error())
	}
	_ = put(strings.TrimSuffix(path, orderEnd)+saidEnd, a) // whoever asked may have gone
}

// answer carries out an order that came by a hook, which can do nothing but answer what is asked; proven: see do. It must name
// its question: it may have been on its way for long.
func (h *Handle) answer(text []byte, proven bool) (said string, err error) {
	var o Order
	if err := json.Unmarshal(text, &o); err != nil {
		return "", errors.New("expected an order as JSON, found something else") // whose text may hold a token
	}
	if answers := []string{Approve, Accept, Refuse}; !slices.Contains(answers, o.Name) {
		return "", fmt.Errorf("expected one of the orders %s, found %q: others are given in a terminal or on the page", strings.Join(answers, ", "), o.Name)
	}
	if o.Nonce == "" {
		return "", fmt.Errorf("%s: expected the nonce of what is asked, which the answer is to, found none", o.Name)
	}
	return h.do(o, proven)
}

// put writes a file whole or not at all.
func put(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".tmp", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// ReadAsked is what a run's folder says is asked now.
func ReadAsked(dir string) (a Asked, err error) {
	text, err := os.ReadFile(filepath.Join(dir, askedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return a, fmt.Errorf("%s: nothing is asked there now", dir)
	}
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(text, &a)
}

// AnswerIn puts an answer into a run's folder and waits for what became of it.
func AnswerIn(ctx context.Context, dir string, o Order) (said string, err error) {
	text, err := json.Marshal(o)
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, "answer-*.new") // nobody else may read a token in it
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	path := strings.TrimSuffix(f.Name(), ".new")
	if err := os.Rename(f.Name(), path+orderEnd); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, answerWithin, fmt.Errorf("nobody took it within %s: does the run that wrote %s still live?", answerWithin, dir))
	defer cancel()
	var a answer
	for tick := time.NewTicker(hookEvery); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return "", errors.Join(context.Cause(ctx), os.Remove(path+orderEnd))
		case <-tick.C:
		}
		text, err := os.ReadFile(path + saidEnd)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		tick.Stop()
		if err == nil {
			err = json.Unmarshal(text, &a)
		}
		if err := errors.Join(err, os.Remove(path+saidEnd)); err != nil {
			return "", err
		}
		if a.Error != "" {
			return "", errors.New(a.Error)
		}
		return a.Said, nil
	}
}
