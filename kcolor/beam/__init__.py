"""Archives of millions of photographs, on Apache Beam: in this process, on Flink, Spark or Dataflow.

What colours or surveys a photograph is the same as without Beam; here is only what brings photographs to it on many
machines, and its outcomes back. Needs ``kcolor[beam]``.
"""
