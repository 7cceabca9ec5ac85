"""Commands: journalled before they are carried out, carried out at most once, read back, answered and audited.

envelope    what a command says of itself         policy, signature   whose commands are taken
engine      admits, carries out, answers          desk                steps, turns and places that all operations share
points      write, release, read                  calls               operations of a profile
limits      a value and its raw value             act                 one write and its read-back
holds       points that are given back            recovery            what a crash cut off
journal     the thread of the two files           book, audit         the files
outbox      answers until the broker has them     plant               the devices, through their pollers
"""
