@faults @kubernetes @gate
Feature: Rolling back while a machine does not listen

  The kubelet of a machine has stopped. Its pods go on serving the bad release, those that come to it do not start, and the
  cluster does not know it for most of a minute.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The rollback waits for the machine
    When release "v2-misprints" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "waits-for-the-worker"
    And the kubelet of the worker is stopped before step 1, until step 1 has ended
    Then service is restored within 5 minutes
    And every instance serves the target release
