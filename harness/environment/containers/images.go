package containers

import (
	"context"
	"os/exec"
	"slices"

	"github.com/testcontainers/testcontainers-go"
)

// Image is one that drills in containers need beside those of the services.
type Image struct {
	Folder   string   // in fixtures/images, where it is made
	From     string   // the folder of the image that it is made from; empty: from nothing
	Inputs   []string // files of the project that it is made of, beside its folder
	Built    string   // its name when `make images` has made it
	Official string   // what is pulled in its place where a registry answers; empty: nobody publishes it
}

// Images are all of them, those first that others are made from. An addition is a folder in fixtures/images and a line here.
//
// The digests are those that several public repositories have pinned for these tags. The machine on which they were written
// down reaches no registry, so nobody has pulled them there: a pull that finds another one says so.
func Images() []Image {
	return []Image{
		{Folder: "base", Built: "backout/debian:bookworm"},
		{Folder: "postgres", From: "base", Built: "backout/postgres:15",
			Official: "postgres:15.19-bookworm@sha256:5d1d70e254e3c5d7d76847a9deebb18478cd518df37abf6b278d4bdb1fe5d96c"},
		{Folder: "redis", From: "base", Built: "backout/redis:7",
			Official: "redis:7-bookworm@sha256:595cc6f2bb3af6e03347b90deb6123c6aa2c81dea05ce08128de8a174b6ac67b"},
		{Folder: "registry", Built: "backout/registry:3",
			Official: "registry:3.0.0@sha256:6c5666b861f3505b116bb9aa9b25175e71210414bd010d92035ff64018f9457e"},
		{Folder: "goose", Inputs: []string{"go.mod", "go.sum"}, Built: "backout/goose:3"},
	}
}

// ImagesForKubernetes are those that drills on clusters need beside them; their versions stand in fixtures/images/versions.
//
// The node's official counterpart is the one that this release of kind has as its own default. Nobody publishes an Argo CD with
// Redis in the same image.
func ImagesForKubernetes() []Image {
	inputs := []string{"fixtures/images/program", "fixtures/images/versions"}
	return []Image{
		{Folder: "node", From: "base", Inputs: inputs, Built: "backout/node:v1.37.2",
			Official: "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"},
		{Folder: "argocd", From: "base", Inputs: inputs, Built: "backout/argocd:v3.1.16"},
	}
}

// Postgres is the image to use for PostgreSQL: the one made here where it is here, else the official one.
func Postgres(ctx context.Context) string { return reference(ctx, "postgres") }

// Redis is the image to use for caches, chosen as for Postgres.
func Redis(ctx context.Context) string { return reference(ctx, "redis") }

// Registry is the image to use for a registry, chosen as for Postgres.
func Registry(ctx context.Context) string { return reference(ctx, "registry") }

// Node is the image to use for nodes of kind, chosen as for Postgres.
func Node(ctx context.Context) string { return reference(ctx, "node") }

// ArgoCD is the image to use for Argo CD, whose /core-install.yaml installs it.
func ArgoCD(ctx context.Context) string { return reference(ctx, "argocd") }

func reference(ctx context.Context, folder string) string {
	for _, i := range slices.Concat(Images(), ImagesForKubernetes()) {
		if i.Folder == folder {
			if i.Official == "" || Here(ctx, i.Built) {
				return i.Built
			}
			return i.Official
		}
	}
	return ""
}

// Here says whether an image is on this machine, so that nothing need be pulled for it.
func Here(ctx context.Context, image string) bool {
	return exec.CommandContext(ctx, "docker", "image", "inspect", image).Run() == nil
}

// Pullable says whether a registry that can be reached from here has an image.
func Pullable(ctx context.Context, image string) bool {
	return exec.CommandContext(ctx, "docker", "manifest", "inspect", image).Run() == nil
}

// Reaper is the image of what removes the containers of a run that was killed, by itself. It is used where it is here.
func Reaper() string {
	//lint:ignore SA1019 what replaced it cannot be named from outside the library
	return testcontainers.ReaperDefaultImage
}
