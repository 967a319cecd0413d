// Package nodeimage provides the images that kind starts nodes from.
//
// For each Kubernetes version the image is, in this order, found in Docker,
// pulled from its registry (kindest/node), or built from source. Building
// needs the Go toolchain, debootstrap and root, and nothing of a container
// registry or of git: Kubernetes, etcd, CoreDNS, containerd, the CNI plug-ins
// and flannel come as Go modules, the userland from Debian, and kind's own
// base files from kind's module.
//
// # Stages and the cache
//
// A build is a row of stages. Each stage has a key, a hash of everything that
// decides what it makes, and leaves a directory named after it in the cache.
// A stage works in a directory of another name and renames it when it is
// done: an interrupted stage is done again, a finished one never. Two
// processes that want the same stage wait for one another.
//
// Images carry the key of their recipe as the label [LabelRecipe]; one that
// carries the current key is never built again, one of an older recipe is.
//
// # What is in a built image
//
// kubeadm, kubelet and kubectl in /usr/bin are hard links to one executable
// that also is kube-apiserver, kube-controller-manager, kube-scheduler and
// kube-proxy, chosen by the name it is called by: one program instead of seven
// saves three quarters of the space. Whoever replaces one of them in a running
// node must write a new file and rename it over the old. The images of the
// control plane, of etcd, CoreDNS, flannel and pause are imported into
// containerd under the names that that version's kubeadm asks for.
package nodeimage
