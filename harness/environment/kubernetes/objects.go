package kubernetes

import (
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// partLabel tells the harness's own pods from those of services.
const partLabel = "backout.part"

const (
	postgresPort = 5432
	redisPort    = 6379
	controlPort  = 9000
	firstStub    = 9001
)

// dataDir is where a node's volume is.
const dataDir = "/var/lib/postgresql/data"

func named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Labels: map[string]string{partLabel: name}}
}

func secret(name string, values map[string]string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: named(name), StringData: values}
}

// reached is a Service with ports inside -> NodePort; 0: it is reached inside alone.
func reached(name string, ports map[int]int) *corev1.Service {
	s := &corev1.Service{ObjectMeta: named(name), Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Selector: map[string]string{partLabel: name},
		PublishNotReadyAddresses: true}}
	for _, inside := range slices.Sorted(maps.Keys(ports)) {
		if ports[inside] == 0 {
			s.Spec.Type = corev1.ServiceTypeClusterIP
		}
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: fmt.Sprintf("port-%d", inside), Port: int32(inside), TargetPort: intstr.FromInt32(int32(inside)), NodePort: int32(ports[inside])})
	}
	return s
}

// stateful is a node of PostgreSQL with its volume.
func stateful(name string, pod corev1.PodSpec) *appsv1.StatefulSet {
	one := int32(1)
	pod.Containers[0].VolumeMounts = append(pod.Containers[0].VolumeMounts,
		corev1.VolumeMount{Name: "data", MountPath: dataDir}, corev1.VolumeMount{Name: "shm", MountPath: "/dev/shm"})
	memory := resource.MustParse("256Mi")
	pod.Volumes = append(pod.Volumes, corev1.Volume{Name: "shm", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: &memory}}})
	return &appsv1.StatefulSet{ObjectMeta: named(name), Spec: appsv1.StatefulSetSpec{
		ServiceName: name, Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{partLabel: name}},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{partLabel: name}}, Spec: pod},
		VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("2Gi")}},
		}}},
	}}
}

// deployed is a Deployment of one pod.
func deployed(name string, pod corev1.PodSpec) *appsv1.Deployment {
	one := int32(1)
	return &appsv1.Deployment{ObjectMeta: named(name), Spec: appsv1.DeploymentSpec{
		Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{partLabel: name}},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{partLabel: name}}, Spec: pod},
	}}
}

// container of the harness: its image was brought to where nodes find it, and its secrets come by a Secret of its name. In a
// cluster of kind with several machines it is on the one of the control plane, which no fault disturbs: what is done to the
// other one is done to pods of services.
func (s *stage) container(name, image string, command []string, env map[string]string) corev1.PodSpec {
	pull := corev1.PullNever
	if s.images.registry != "" {
		pull = corev1.PullIfNotPresent
	}
	pod := container(name, s.images.at(image), pull, command, env)
	if s.there == nil && len(s.cluster.nodes) > 1 {
		pod.NodeSelector = map[string]string{corev1.LabelHostname: s.cluster.nodes[0]}
	}
	return pod
}

func container(name, image string, pull corev1.PullPolicy, command []string, env map[string]string) corev1.PodSpec {
	c := corev1.Container{Name: name, Image: image, ImagePullPolicy: pull, Command: command,
		EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}}}
	for _, key := range slices.Sorted(maps.Keys(env)) {
		c.Env = append(c.Env, corev1.EnvVar{Name: key, Value: env[key]})
	}
	grace, no := int64(5), false
	return corev1.PodSpec{Containers: []corev1.Container{c}, TerminationGracePeriodSeconds: &grace, AutomountServiceAccountToken: &no, EnableServiceLinks: &no}
}
