package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"

	"backout/harness/environment"
)

// removal takes away what a run has made in a namespace that exists: what carries its label, what these own, and the volumes
// that its StatefulSets claimed, which nothing owns. All the rest stays as it is.
type removal struct {
	client    kubernetes.Interface
	meta      metadata.Interface
	namespace string
	token     string
}

// all removes it and waits until it is gone.
func (r removal) all(ctx context.Context) (removed int, err error) {
	seen, pending := map[string]bool{}, map[string]metav1.ObjectMeta{}
	err = environment.Until(ctx, "all that the drill made in "+r.namespace+" is gone", func(ctx context.Context) error {
		left, err := r.once(ctx, pending)
		for _, name := range left {
			seen[name] = true
		}
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("still there: %s", strings.Join(left, ", "))
		}
		if err != nil {
			return errors.Join(err, pause(ctx, pauseBetween))
		}
		return nil
	})
	return len(seen), err
}

// once asks for the end of everything and names what is still there. Claims go first, for only while their StatefulSet is
// there they are known for the run's; they stay until no pod uses them.
func (r removal) once(ctx context.Context, pending map[string]metav1.ObjectMeta) (left []string, err error) {
	claims, err := r.claims(ctx)
	if err != nil {
		return nil, err
	}
	api := r.client.CoreV1().PersistentVolumeClaims(r.namespace)
	for _, claim := range claims {
		pending[claim.Name] = claim
	}
	for _, claim := range pending {
		err := api.Delete(ctx, claim.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &claim.UID}})
		switch {
		case gone(err) || apierrors.IsConflict(err): // another one of that name
			delete(pending, claim.Name)
		case err != nil:
			return nil, fmt.Errorf("delete the claim %s: %w", claim.Name, err)
		default:
			left = append(left, "persistentvolumeclaims/"+claim.Name)
		}
	}
	for _, kind := range kinds() {
		names, err := r.of(ctx, kind)
		if err != nil {
			return nil, err
		}
		left = append(left, names...)
	}
	return left, nil
}

// of deletes the run's objects of one kind and names those that are still there.
func (r removal) of(ctx context.Context, kind schema.GroupResource) (names []string, err error) {
	api := r.meta.Resource(resourceOf(kind)).Namespace(r.namespace)
	list, err := api.List(ctx, metav1.ListOptions{LabelSelector: Label + "=" + r.token})
	if err != nil {
		return nil, fmt.Errorf("list the %s of the drill: %w", kind, err)
	}
	// An object stays until all that it owns is gone, so that nothing is left when it is.
	foreground := metav1.DeletePropagationForeground
	for _, o := range list.Items {
		names = append(names, objectName(kind.Group, kind.Resource, o.Name))
		if o.DeletionTimestamp != nil {
			continue
		}
		err := api.Delete(ctx, o.Name, metav1.DeleteOptions{PropagationPolicy: &foreground, Preconditions: &metav1.Preconditions{UID: &o.UID}})
		if err != nil && !gone(err) {
			return names, fmt.Errorf("delete %s: %w", names[len(names)-1], err)
		}
	}
	return names, nil
}

// claims are the volumes that the run's StatefulSets have claimed. One that is older than its StatefulSet is somebody else's.
func (r removal) claims(ctx context.Context) (all []metav1.ObjectMeta, err error) {
	sets, err := r.client.AppsV1().StatefulSets(r.namespace).List(ctx, metav1.ListOptions{LabelSelector: Label + "=" + r.token})
	if err != nil {
		return nil, fmt.Errorf("list the StatefulSets of the drill: %w", err)
	}
	if len(sets.Items) == 0 {
		return nil, nil
	}
	list, err := r.client.CoreV1().PersistentVolumeClaims(r.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the claims of volumes: %w", err)
	}
	for _, c := range list.Items {
		if slices.ContainsFunc(sets.Items, func(s appsv1.StatefulSet) bool { return claimed(c.ObjectMeta, s) }) {
			all = append(all, c.ObjectMeta)
		}
	}
	return all, nil
}

// claimed says whether a claim was made for a StatefulSet: it is called TEMPLATE-SET-NUMBER.
func claimed(c metav1.ObjectMeta, s appsv1.StatefulSet) bool {
	if c.CreationTimestamp.Before(&s.CreationTimestamp) {
		return false
	}
	return slices.ContainsFunc(s.Spec.VolumeClaimTemplates, func(t corev1.PersistentVolumeClaim) bool {
		number, is := strings.CutPrefix(c.Name, t.Name+"-"+s.Name+"-")
		return is && number != "" && strings.Trim(number, "0123456789") == ""
	})
}
