package kubernetes

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"backout/harness/environment"
	"backout/harness/service"
)

func TestSmoke(t *testing.T) {
	dir, _ := filepath.Abs("../../../fixtures/services")
	s, err := service.Load(filepath.Join(dir, "shop", "service.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.Instances, s.Kubernetes = 0, nil
	r, err := s.Release("v1")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	env, err := New(environment.Options{Progress: func(text string) { t.Log(time.Since(began), text) }})
	if err != nil {
		t.Fatal(err)
	}
	err = env.Provision(context.Background(), environment.Need{Service: s, Good: r, Streaming: true, Logical: true})
	t.Log(time.Since(began), err)
	t.Log(env.Variables())
	t.Log(env.Log("logical"))
	began = time.Now()
	t.Log(env.Destroy(context.Background()), time.Since(began))
}
