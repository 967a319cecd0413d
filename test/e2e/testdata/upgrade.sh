#!/bin/sh -e
# upgrade.sh CLUSTER: how an operator upgrades a cluster by hand, as kubeadm's
# documentation has it ("Upgrading kubeadm clusters"), for one whose nodes are
# containers. Where others install packages, the version's commands wait in
# /opt/rehearse of each node.
plane=$1-control-plane

kubectl() { docker exec "$plane" kubectl --kubeconfig /etc/kubernetes/admin.conf "$@"; }

install() { # NODE COMMAND...
  node=$1
  shift
  for name; do docker exec "$node" ln -f "/opt/rehearse/$REHEARSE_TO/$name" "/usr/bin/$name"; done
}

upgrade() { # NODE, and what kubeadm is told
  node=$1
  shift
  install "$node" kubeadm
  docker exec "$node" kubeadm upgrade "$@" --ignore-preflight-errors=SystemVerification
  # The API server of the only control plane may be away for a moment.
  until kubectl drain "$node" --ignore-daemonsets --delete-emptydir-data --timeout 5m; do sleep 2; done
  install "$node" kubelet kubectl
  docker exec "$node" systemctl daemon-reload
  docker exec "$node" systemctl restart kubelet
  until [ "$(kubectl get node "$node" -o 'jsonpath={.status.nodeInfo.kubeletVersion}')" = "$REHEARSE_TO" ]; do sleep 2; done
  until kubectl uncordon "$node"; do sleep 2; done
}

# settled asks twice whether the controller manager leads: its lease is renewed. Until
# it does, nothing follows a drain: pods that end stay endpoints of their Services.
settled() {
  was=$(kubectl -n kube-system get lease kube-controller-manager -o 'jsonpath={.spec.renewTime}') && sleep 5 &&
    now=$(kubectl -n kube-system get lease kube-controller-manager -o 'jsonpath={.spec.renewTime}') && [ "$was" != "$now" ]
}

upgrade "$plane" apply "$REHEARSE_TO" --yes
until kubectl -n kube-system wait pods --all --for=condition=Ready --timeout=1m; do sleep 2; done
until settled; do sleep 2; done
for worker in $(kubectl get nodes -l '!node-role.kubernetes.io/control-plane' -o name); do
  upgrade "${worker#node/}" node
done
